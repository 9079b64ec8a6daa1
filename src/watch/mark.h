#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "os/unique_fd.h"
#include "watch/mount.h"
#include "watch/queue_bound.h"

namespace fanmirror::watch {

// What we ask of the kernel, of a group and of its mark: events of a group that was asked for anything else are not
// ours.
std::uint64_t GroupFlags(QueueBound bound);
std::uint64_t EventMask();

// A fanotify group with the flags that we use, non-blocking, without a mark. kHaltJob, with the cure, where
// the kernel or our privileges do not suffice; kRetry where a limit is reached for now.
absl::StatusOr<os::UniqueFd> NewGroup(QueueBound bound);

// Marks the whole filesystem of the mount for `group`. Afterwards nothing of ours holds the mount or the
// filesystem.
absl::Status MarkFilesystem(int group, const Mount& mount);

// The group's flags and marks, as the kernel shows them; empty for a descriptor that is no fanotify group.
std::string DescribeMarks(int group);
// Whether what DescribeMarks gave shows a mark, on the filesystem with this device number (Mount::superblock).
bool ShowsMarkOn(const std::string& marks, std::uint64_t superblock);

// Marks a filesystem of its own that nobody else sees: whether the kernel takes our mask.
absl::Status TryMark(int group);

}  // namespace fanmirror::watch
