#pragma once

#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "model/file_id.h"
#include "os/unique_fd.h"

namespace fanmirror::os {

// What ESTALE means. The kernel makes ESTALE of every error that it meets while it opens a handle, be it that
// the inode cannot be read, is corrupt, or that the filesystem was shut down. To take such a node for a
// removed one would remove it on the target. So each filesystem is asked in its own way: xfs and btrfs are
// searched for the inode, ext4 reports each error that it meets to fanotify before the call returns (its
// counters in sysfs follow later). Thread-safe.
class StaleCheck {
 public:
  // `root_fd`: a directory of the filesystem, not O_PATH, that stays open as long as this.
  static absl::StatusOr<std::unique_ptr<StaleCheck>> Create(int root_fd);

  // OK unless the filesystem was shut down. About a microsecond.
  absl::Status CheckAlive() const;

  // OK when `id`, whose opening gave ESTALE, is of a node that is gone. `is_stale` opens it again and says
  // whether that gave ESTALE again. On filesystems other than ext4, xfs and btrfs a shutdown is all that can
  // be told. A few microseconds.
  absl::Status CheckGone(const model::FileId& id, absl::FunctionRef<bool()> is_stale) const;

 private:
  explicit StaleCheck(int root_fd) : root_fd_(root_fd) {}
  absl::Status WatchErrors();
  // Whether ext4 has reported an error since the last call.
  bool TakeError() const;
  int Ext4Error(absl::FunctionRef<bool()> is_stale) const;

  int root_fd_;
  long type_ = 0;           // as statfs(2) has it
  UniqueFd errors_;         // fanotify group of the filesystem's FAN_FS_ERROR, on ext4
  mutable absl::Mutex mu_;  // held from emptying errors_ until it is read for one id
};

}  // namespace fanmirror::os
