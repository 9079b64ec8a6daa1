#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "os/unique_fd.h"
#include "watch/mount.h"

namespace fanmirror::watch {

// A fanotify group with the flags that we use, non-blocking, without a mark. kHaltJob, with the cure, where
// the kernel or our privileges do not suffice; kRetry where a limit is reached for now.
absl::StatusOr<os::UniqueFd> NewGroup();

// Marks the whole filesystem of the mount for `group`. Afterwards nothing of ours holds the mount or the
// filesystem.
absl::Status MarkFilesystem(int group, const Mount& mount);

// Marks a filesystem of its own that nobody else sees: whether the kernel takes our mask.
absl::Status TryMark(int group);

}  // namespace fanmirror::watch
