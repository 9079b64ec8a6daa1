#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "model/file_id.h"
#include "os/unique_fd.h"

namespace fanmirror::os {

// What ESTALE means. The kernel makes ESTALE of every error that it meets while it opens a handle, be it that
// the inode cannot be read, is corrupt, or that the filesystem was shut down. To take such a node for a
// removed one would remove it on the target. So each filesystem is asked in its own way. Immutable,
// thread-safe.
class StaleCheck {
 public:
  // `root_fd`: a directory of the filesystem, not O_PATH, that stays open as long as this.
  explicit StaleCheck(int root_fd);

  // OK unless the filesystem was shut down. About a microsecond.
  absl::Status CheckAlive() const;

  // OK when `id`, whose opening gave ESTALE, is of a node that is gone. `is_stale` opens it again and says
  // whether that gave ESTALE again. On filesystems other than ext4, xfs and btrfs a shutdown is all that can
  // be told.
  absl::Status CheckGone(const model::FileId& id, absl::FunctionRef<bool()> is_stale) const;

 private:
  // The errors that the filesystem has met since it was made; nullopt where they cannot be read.
  std::optional<std::uint64_t> CountExt4Errors() const;

  int root_fd_;
  long type_ = 0;         // as statfs(2) has it
  UniqueFd ext4_errors_;  // the file errors_count in sysfs; none elsewhere
};

}  // namespace fanmirror::os
