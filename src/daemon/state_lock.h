#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "os/unique_fd.h"

namespace fanmirror::daemon {

// One daemon a state directory: a lock on STATE_DIR/lock, held until destruction or the end of the process.
// The file stays, and names the last holder's process.
class StateLock {
 public:
  // Makes the directory when it is missing. Never waits; the refusal names the process that holds the lock.
  static absl::StatusOr<StateLock> Take(const std::string& state_dir);

 private:
  explicit StateLock(os::UniqueFd fd) : fd_(std::move(fd)) {}
  os::UniqueFd fd_;
};

}  // namespace fanmirror::daemon
