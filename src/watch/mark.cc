#include "watch/mark.h"

#include <fcntl.h>
#include <sys/fanotify.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <cstdint>
#include <fstream>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "model/failure.h"

namespace fanmirror::watch {
namespace {

using model::Reaction;

constexpr unsigned kGroupFlags = FAN_CLASS_NOTIF | FAN_REPORT_DFID_NAME_TARGET | FAN_NONBLOCK | FAN_CLOEXEC;
constexpr std::uint64_t kMask =
    FAN_CREATE | FAN_DELETE | FAN_RENAME | FAN_MODIFY | FAN_CLOSE_WRITE | FAN_ATTRIB | FAN_ONDIR;

struct Cure {
  int error;
  Reaction reaction;
  std::string_view cure;
};
constexpr Cure kGroupCures[] = {
    {EPERM, Reaction::kHaltJob, "run it as root, or give it CAP_SYS_ADMIN in the initial user namespace"},
    {EINVAL, Reaction::kHaltJob, "run a kernel of 5.17 or newer"},
    {ENOSYS, Reaction::kHaltJob, "run a kernel that is built with CONFIG_FANOTIFY"},
    {EMFILE, Reaction::kRetry, "raise fs.fanotify.max_user_groups and the limit of open files"},
};
constexpr Cure kMarkCures[] = {
    {EPERM, Reaction::kHaltJob, "run it as root, or give it CAP_SYS_ADMIN in the initial user namespace"},
    {EINVAL, Reaction::kHaltJob, "run a kernel of 5.17 or newer"},
    {ENODEV, Reaction::kHaltJob,
     "the filesystem has no id that events could name: mirror from another filesystem"},
    {EOPNOTSUPP, Reaction::kHaltJob, "the filesystem has no file handles: mirror from another filesystem"},
    {EXDEV, Reaction::kHaltJob,
     "the filesystem cannot be watched as a whole from here: mirror from another filesystem"},
    {ENOSPC, Reaction::kRetry, "raise fs.fanotify.max_user_marks"},
};

template <std::size_t N>
absl::Status CuredFailure(const Cure (&cures)[N], std::string_view call, const std::string& path, int error) {
  for (const Cure& each : cures) {
    if (each.error == error) return model::SystemFailure(each.reaction, call, path, error, each.cure);
  }
  return model::SystemFailure(Reaction::kRetry, call, path, error);
}

// Returns 0 or an errno. FAN_FS_ERROR is a bonus: not every filesystem or kernel takes it.
int Mark(int group, int dir_fd) {
  constexpr unsigned kFlags = FAN_MARK_ADD | FAN_MARK_FILESYSTEM;
  if (fanotify_mark(group, kFlags, kMask | FAN_FS_ERROR, dir_fd, ".") == 0) return 0;
  if (errno != EINVAL && errno != EOPNOTSUPP) return errno;
  return fanotify_mark(group, kFlags, kMask, dir_fd, ".") == 0 ? 0 : errno;
}

// One parameter of a filesystem to be made; a flag when `value` is empty.
struct Parameter {
  std::string_view key;
  std::string_view value;
};

// A mount that is attached nowhere.
absl::StatusOr<os::UniqueFd> DetachedMount(const std::string& type,
                                           std::initializer_list<Parameter> parameters) {
  os::UniqueFd context(fsopen(type.c_str(), FSOPEN_CLOEXEC));
  if (!context) return model::SystemFailure(Reaction::kHaltJob, "fsopen", type, errno);
  for (const Parameter& each : parameters) {
    const std::string key(each.key);
    const std::string value(each.value);
    const int result = value.empty()
                           ? fsconfig(context.get(), FSCONFIG_SET_FLAG, key.c_str(), nullptr, 0)
                           : fsconfig(context.get(), FSCONFIG_SET_STRING, key.c_str(), value.c_str(), 0);
    if (result != 0)
      return model::SystemFailure(Reaction::kHaltJob, absl::StrCat("fsconfig ", key), value, errno);
  }
  if (fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    return model::SystemFailure(Reaction::kRetry, "fsconfig create", type, errno);
  }
  os::UniqueFd mount(fsmount(context.get(), FSMOUNT_CLOEXEC, 0));
  if (!mount) return model::SystemFailure(Reaction::kRetry, "fsmount", type, errno);
  return mount;
}

// A btrfs takes a mark only on its top-level subvolume, which need not be mounted anywhere. A mark there sees
// them all.
absl::Status MarkBtrfs(int group, const Mount& mount) {
  auto top = DetachedMount("btrfs", {{"source", mount.source}, {"subvolid", "5"}});
  // A filesystem that is mounted read-only refuses to be shared by a writable mount.
  if (!top.ok()) top = DetachedMount("btrfs", {{"source", mount.source}, {"subvolid", "5"}, {"ro", ""}});
  if (!top.ok()) return std::move(top).status();
  const int error = Mark(group, top->get());
  if (error != 0)
    return CuredFailure(kMarkCures, "fanotify_mark of the top-level subvolume of", mount.source, error);
  return absl::OkStatus();
}

}  // namespace

std::uint64_t GroupFlags(QueueBound bound) {
  return kGroupFlags | (bound == QueueBound::kUnlimited ? FAN_UNLIMITED_QUEUE : 0U);
}

std::uint64_t EventMask() { return kMask | FAN_FS_ERROR; }

absl::StatusOr<os::UniqueFd> NewGroup(QueueBound bound) {
  os::UniqueFd group(fanotify_init(static_cast<unsigned>(GroupFlags(bound)), O_RDONLY | O_CLOEXEC | O_LARGEFILE));
  if (!group) return CuredFailure(kGroupCures, "fanotify_init", "fanotify", errno);
  return group;
}

absl::Status MarkFilesystem(int group, const Mount& mount) {
  const os::UniqueFd dir(open(mount.target.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!dir)
    return model::SystemFailure(Reaction::kRetry, "open", mount.target, errno, "is it still mounted?");
  struct statx found {};
  if (statx(dir.get(), "", AT_EMPTY_PATH, STATX_MNT_ID, &found) != 0) {
    return model::SystemFailure(Reaction::kRetry, "statx", mount.target, errno);
  }
  if (found.stx_mnt_id != static_cast<std::uint64_t>(mount.id)) {
    return model::Failure(
        Reaction::kRetry,
        absl::StrCat("watch ", model::QuotePath(mount.target),
                     ": another filesystem is mounted there by now; look at the mount table"));
  }
  const int error = Mark(group, dir.get());
  if (error == 0) return absl::OkStatus();
  if (error == EXDEV && mount.type == "btrfs") return MarkBtrfs(group, mount);
  return CuredFailure(kMarkCures, "fanotify_mark", mount.target, error);
}

std::string DescribeMarks(int group) {
  std::ifstream info(absl::StrCat("/proc/self/fdinfo/", group));
  std::string marks;
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("fanotify ")) absl::StrAppend(&marks, line, "\n");
  }
  return marks;
}

bool ShowsMarkOn(const std::string& marks, std::uint64_t superblock) {
  // As the kernel numbers devices inside: the minor number has 20 bits.
  const std::uint64_t device = std::uint64_t{major(superblock)} << 20 | minor(superblock);
  return absl::StrContains(marks, absl::StrCat("fanotify sdev:", absl::Hex(device), " "));
}

absl::Status TryMark(int group) {
  const auto scratch = DetachedMount("tmpfs", {});
  if (!scratch.ok()) return scratch.status();
  const int error = Mark(group, scratch->get());
  if (error != 0) return CuredFailure(kMarkCures, "fanotify_mark", "a tmpfs", error);
  return absl::OkStatus();
}

}  // namespace fanmirror::watch
