#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "os/unique_fd.h"

namespace fanmirror::apply {

// How long a stale receiver may take to die of SIGTERM before SIGKILL, and of that before we give up: a
// process that waits for a slow disk dies of neither.
inline constexpr absl::Duration kLockPatience = absl::Seconds(10);

struct LockHolder {
  std::string instance;
  std::string source;
};

// Makes this process the only receiver for the directory of which `home_fd` is the .fanmirror, for as long as
// the descriptor is open. A holder of the same instance is the rest of a lost connection: it is ended. A
// holder of another instance is named in the refusal (kReconnect). `root`: for messages. Blocks up to about
// twice kLockPatience.
absl::StatusOr<os::UniqueFd> AcquireLock(int home_fd, const LockHolder& me, const std::string& root);

}  // namespace fanmirror::apply
