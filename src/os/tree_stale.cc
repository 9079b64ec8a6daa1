#include "os/tree_stale.h"

#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <linux/magic.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "model/failure.h"

namespace fanmirror::os {
namespace {

using model::FileId;
using model::Reaction;

constexpr long kXfs = 0x58465342;
constexpr const char* kCure = "the source's filesystem reports errors: see the kernel's log, and check it";

// The part that we need of XFS_IOC_BULKSTAT (xfs_fs.h of xfsprogs; an ABI since Linux 5.3).
struct XfsBulkRequest {
  std::uint64_t first_inode;
  std::uint32_t flags;
  std::uint32_t capacity;
  std::uint32_t given;
  std::uint32_t group;
  std::uint64_t reserved[5];
};
struct XfsBulkStat {
  std::uint64_t inode;
  std::uint64_t size, blocks, flags;
  std::int64_t times[4];
  std::uint32_t generation;
  std::uint32_t uid, gid, project;
  std::uint32_t nanoseconds[4];
  std::uint32_t device, block_size, extent_size_hint, extents, attribute_extents, cow_extent_size;
  std::uint32_t links;
  std::uint16_t fork_offset, mode, sick, checked, version, padding;
  std::uint64_t more[7];
};
static_assert(sizeof(XfsBulkRequest) == 64);
static_assert(sizeof(XfsBulkStat) == 192);
struct XfsBulkStatCall {
  XfsBulkRequest request;
  XfsBulkStat stat;
};
constexpr unsigned long kXfsBulkStat = _IOR('X', 127, XfsBulkRequest);

// The inode and the generation that an xfs handle holds.
bool ReadXfsHandle(const FileId& id, std::uint64_t* inode, std::uint32_t* generation) {
  const std::string_view bytes = id.bytes();
  std::uint32_t short_inode = 0;
  if (bytes.size() == sizeof *inode + sizeof *generation) {
    std::memcpy(inode, bytes.data(), sizeof *inode);
  } else if (bytes.size() == sizeof short_inode + sizeof *generation) {
    std::memcpy(&short_inode, bytes.data(), sizeof short_inode);
    *inode = short_inode;
  } else {
    return false;
  }
  std::memcpy(generation, bytes.data() + bytes.size() - sizeof *generation, sizeof *generation);
  return true;
}

// The errno that was behind ESTALE, EIO when it was some error and the node is there; 0 when the node is
// gone.
int XfsError(int root_fd, const FileId& id) {
  std::uint64_t inode = 0;
  std::uint32_t generation = 0;
  if (!ReadXfsHandle(id, &inode, &generation)) return EINVAL;
  // Gives the first inode at or after this one, or the error that this one gave.
  XfsBulkStatCall call = {};
  call.request.first_inode = inode;
  call.request.capacity = 1;
  if (::ioctl(root_fd, kXfsBulkStat, &call) != 0) return errno;
  const bool exists = call.request.given == 1 && call.stat.inode == inode &&
                      call.stat.generation == generation && call.stat.links != 0;
  return exists ? EIO : 0;
}

// As XfsError. Looks for the item of the inode in the tree of its subvolume; numbers are never used again.
int BtrfsError(int root_fd, const FileId& id) {
  std::uint64_t inode_and_subvolume[2];
  if (id.bytes().size() < sizeof inode_and_subvolume) return EINVAL;
  std::memcpy(inode_and_subvolume, id.bytes().data(), sizeof inode_and_subvolume);
  btrfs_ioctl_search_args search = {};
  search.key.tree_id = inode_and_subvolume[1];
  search.key.min_objectid = search.key.max_objectid = inode_and_subvolume[0];
  search.key.min_type = search.key.max_type = BTRFS_INODE_ITEM_KEY;
  search.key.max_offset = UINT64_MAX;
  search.key.max_transid = UINT64_MAX;
  search.key.nr_items = 1;
  if (::ioctl(root_fd, BTRFS_IOC_TREE_SEARCH, &search) != 0) return errno == ENOENT ? 0 : errno;
  return search.key.nr_items == 0 ? 0 : EIO;
}

}  // namespace

absl::StatusOr<std::unique_ptr<StaleCheck>> StaleCheck::Create(int root_fd) {
  std::unique_ptr<StaleCheck> check(new StaleCheck(root_fd));
  struct statfs filesystem;
  if (::fstatfs(root_fd, &filesystem) != 0) {
    return model::SystemFailure(Reaction::kRetry, "statfs", "the source's root", errno, kCure);
  }
  check->type_ = filesystem.f_type;
  if (check->type_ != EXT4_SUPER_MAGIC) return check;
  if (absl::Status status = check->WatchErrors(); !status.ok()) return status;
  return check;
}

absl::Status StaleCheck::WatchErrors() {
  errors_.reset(::fanotify_init(FAN_CLASS_NOTIF | FAN_REPORT_FID | FAN_CLOEXEC | FAN_NONBLOCK, O_RDONLY));
  if (!errors_) {
    return model::SystemFailure(Reaction::kRetry, "fanotify_init", "the source's root", errno,
                                "if many watchers run, raise fs.fanotify.max_user_groups");
  }
  if (::fanotify_mark(errors_.get(), FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_FS_ERROR, root_fd_, nullptr) ==
      0) {
    return absl::OkStatus();
  }
  return model::SystemFailure(Reaction::kHaltJob, "fanotify_mark(FAN_FS_ERROR)", "the source's root", errno,
                              "Linux 5.17 or later is needed");
}

bool StaleCheck::TakeError() const {
  // Errors that were not taken are one event, of about a hundred bytes.
  alignas(fanotify_event_metadata) char event[1024];
  bool any = false;
  while (::read(errors_.get(), event, sizeof event) > 0) any = true;
  return any;
}

// As XfsError.
int StaleCheck::Ext4Error(absl::FunctionRef<bool()> is_stale) const {
  const absl::MutexLock lock(&mu_);
  TakeError();
  // An inode that cannot be read is read anew, and reported, each time.
  return is_stale() && !TakeError() ? 0 : EIO;
}

absl::Status StaleCheck::CheckAlive() const {
  // Refused by ext4 and xfs after a shutdown, when looking up a name or listing a directory need not be.
  if (::fgetxattr(root_fd_, "trusted.fanmirror", nullptr, 0) >= 0 || errno == ENODATA ||
      errno == EOPNOTSUPP) {
    return absl::OkStatus();
  }
  return model::SystemFailure(Reaction::kRetry, "getxattr", "the source's root", errno, kCure);
}

absl::Status StaleCheck::CheckGone(const FileId& id, absl::FunctionRef<bool()> is_stale) const {
  if (absl::Status alive = CheckAlive(); !alive.ok()) return alive;
  int error = 0;
  if (type_ == EXT4_SUPER_MAGIC) {
    error = Ext4Error(is_stale);
  } else if (type_ == kXfs) {
    error = XfsError(root_fd_, id);
  } else if (type_ == BTRFS_SUPER_MAGIC) {
    error = BtrfsError(root_fd_, id);
  }
  if (error == 0) return absl::OkStatus();
  return model::SystemFailure(Reaction::kRetry, "open_by_handle_at", id.ToString(), error, kCure);
}

}  // namespace fanmirror::os
