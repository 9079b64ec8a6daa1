#include "os/tree_stale.h"

#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "absl/strings/str_cat.h"
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

UniqueFd OpenExt4Errors(int root_fd) {
  struct stat root;
  if (::fstat(root_fd, &root) != 0) return UniqueFd();
  const std::string device = absl::StrCat("/sys/dev/block/", major(root.st_dev), ":", minor(root.st_dev));
  char target[PATH_MAX];
  const ssize_t size = ::readlink(device.c_str(), target, sizeof target - 1);
  if (size <= 0) return UniqueFd();
  target[size] = '\0';
  const char* slash = std::strrchr(target, '/');
  const std::string path =
      absl::StrCat("/sys/fs/ext4/", slash == nullptr ? target : slash + 1, "/errors_count");
  return UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
}

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

StaleCheck::StaleCheck(int root_fd) : root_fd_(root_fd) {
  struct statfs filesystem;
  if (::fstatfs(root_fd, &filesystem) == 0) type_ = filesystem.f_type;
  if (type_ == EXT4_SUPER_MAGIC) ext4_errors_ = OpenExt4Errors(root_fd);
}

absl::Status StaleCheck::CheckAlive() const {
  // Refused by ext4 and xfs after a shutdown, when looking up a name or listing a directory need not be.
  if (::fgetxattr(root_fd_, "trusted.fanmirror", nullptr, 0) >= 0 || errno == ENODATA ||
      errno == EOPNOTSUPP) {
    return absl::OkStatus();
  }
  return model::SystemFailure(Reaction::kRetry, "getxattr", "the source's root", errno, kCure);
}

std::optional<std::uint64_t> StaleCheck::CountExt4Errors() const {
  char text[32] = {};
  if (::pread(ext4_errors_.get(), text, sizeof text - 1, 0) <= 0) return std::nullopt;
  return std::strtoull(text, nullptr, 10);
}

absl::Status StaleCheck::CheckGone(const FileId& id, absl::FunctionRef<bool()> is_stale) const {
  if (absl::Status alive = CheckAlive(); !alive.ok()) return alive;
  int error = 0;
  if (ext4_errors_) {
    const std::optional<std::uint64_t> before = CountExt4Errors();
    // An inode that cannot be read is read anew, and counted, each time.
    if (!before.has_value() || !is_stale() || CountExt4Errors() != before) error = EIO;
  } else if (type_ == kXfs) {
    error = XfsError(root_fd_, id);
  } else if (type_ == BTRFS_SUPER_MAGIC) {
    error = BtrfsError(root_fd_, id);
  }
  if (error == 0) return absl::OkStatus();
  return model::SystemFailure(Reaction::kRetry, "open_by_handle_at", id.ToString(), error, kCure);
}

}  // namespace fanmirror::os
