#include "watch/mount.h"

#include <fcntl.h>
#include <libmount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <cstdlib>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "model/failure.h"
#include "os/tree.h"
#include "os/unique_fd.h"
#include "watch/filesystem_types.h"
#include "watch/mount_table.h"

namespace fanmirror::watch {
namespace {

using model::Reaction;

struct UnrefCache {
  void operator()(libmnt_cache* cache) const { mnt_unref_cache(cache); }
};

std::string Text(const char* text) { return text == nullptr ? std::string() : std::string(text); }

absl::Status Refuse(const std::string& path, std::string_view type, std::string_view reason,
                    std::string_view cure) {
  return model::Failure(Reaction::kHaltJob,
                        absl::StrCat("cannot watch ", model::QuotePath(path), " on ", std::string(type), ": ",
                                     std::string(reason), "; ", std::string(cure)));
}

// The UUID that libblkid reads from the device; empty when there is no device or it has none.
std::string UuidOf(const std::string& device) {
  if (!device.starts_with('/')) return {};
  const std::unique_ptr<libmnt_cache, UnrefCache> cache(mnt_new_cache());
  if (cache == nullptr || mnt_cache_read_tags(cache.get(), device.c_str()) < 0) return {};
  return Text(mnt_cache_find_tag_value(cache.get(), device.c_str(), "UUID"));
}

std::string FilesystemName(const Mount& mount) {
  std::string uuid = UuidOf(mount.source);
  if (!uuid.empty()) return uuid;
  return absl::StrCat(mount.type, ":", major(mount.device), ":", minor(mount.device));
}

// Whether the directory has a handle that we can use as an identity.
absl::Status CheckHandles(int dir_fd, const std::string& path, const std::string& type) {
  model::FileId id;
  const int error = os::IdAt(dir_fd, "", &id);
  if (error == 0) return absl::OkStatus();
  if (error == EOPNOTSUPP && type == "overlay") {
    return Refuse(path, type, "it gives no file handles",
                  "mount it with nfs_export=on, or mirror its upper directory");
  }
  if (error == EOPNOTSUPP)
    return Refuse(path, type, "it gives no file handles", "keep the files on ext4, xfs or btrfs");
  if (error == EOVERFLOW)
    return Refuse(path, type, "its file handles are too large", "keep the files on ext4, xfs or btrfs");
  return model::SystemFailure(Reaction::kHaltJob, "name_to_handle_at", path, error);
}

absl::StatusOr<Mount> Describe(libmnt_fs* fs, const std::string& path, std::uint64_t device) {
  Mount mount;
  mount.id = mnt_fs_get_id(fs);
  mount.target = Text(mnt_fs_get_target(fs));
  mount.source = Text(mnt_fs_get_source(fs));
  mount.type = Text(mnt_fs_get_fstype(fs));
  mount.options = Text(mnt_fs_get_options(fs));
  mount.root = Text(mnt_fs_get_root(fs));
  mount.device = device;
  mount.superblock = mnt_fs_get_devno(fs);
  const Refusal* refusal = FindRefusal(mount.type);
  if (refusal != nullptr) return Refuse(path, mount.type, refusal->reason, refusal->cure);
  return mount;
}

}  // namespace

absl::StatusOr<Mount> ResolveMount(const std::string& path) {
  const os::UniqueFd dir(open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!dir) {
    return model::SystemFailure(Reaction::kHaltJob, "open source", path, errno,
                                "name a directory that exists");
  }
  struct statx found {};
  if (statx(dir.get(), "", AT_EMPTY_PATH, STATX_MNT_ID, &found) != 0) {
    return model::SystemFailure(Reaction::kRetry, "statx", path, errno);
  }
  auto table = ReadMountTable();
  if (!table.ok()) return std::move(table).status();
  libmnt_fs* fs = FindById(table->get(), static_cast<int>(found.stx_mnt_id));
  if (fs == nullptr) {
    return model::Failure(
        Reaction::kHaltJob,
        absl::StrCat("find the mount of ", model::QuotePath(path),
                     ": it is not in /proc/self/mountinfo; run outside chroot and sandbox"));
  }
  auto mount = Describe(fs, path, makedev(found.stx_dev_major, found.stx_dev_minor));
  if (!mount.ok()) return mount;
  if (auto usable = CheckHandles(dir.get(), path, mount->type); !usable.ok()) return usable;
  mount->filesystem = FilesystemName(*mount);
  return mount;
}

absl::StatusOr<bool> IsStillMounted(const Mount& mount) {
  auto table = ReadMountTable();
  if (!table.ok()) return std::move(table).status();
  libmnt_fs* fs = FindById(table->get(), mount.id);
  return fs != nullptr && Text(mnt_fs_get_target(fs)) == mount.target &&
         Text(mnt_fs_get_source(fs)) == mount.source && Text(mnt_fs_get_fstype(fs)) == mount.type &&
         Text(mnt_fs_get_root(fs)) == mount.root;
}

}  // namespace fanmirror::watch
