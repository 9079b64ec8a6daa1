#include "watch/filesystem_types.h"

#include <algorithm>
#include <iterator>

namespace fanmirror::watch {
namespace {

constexpr std::string_view kRemote = "changes that other hosts make are not seen by fanotify here";
constexpr std::string_view kOnServer = "run fanmirror on the server that holds the files";
constexpr std::string_view kUserSpace = "changes that its server makes are not seen by fanotify";
constexpr std::string_view kBelow = "mirror the directory of the filesystem that lies below it";
constexpr std::string_view kKernel = "it shows the state of this host's kernel, not files";
constexpr std::string_view kAnother = "mirror another directory";
constexpr std::string_view kUnstable = "its file handles change when a file is renamed or forgotten";
constexpr std::string_view kUseUnix = "keep the files on ext4, xfs or btrfs";

constexpr Refusal kRefusals[] = {
    {"nfs", kRemote, kOnServer},
    {"nfs4", kRemote, kOnServer},
    {"cifs", kRemote, kOnServer},
    {"smb3", kRemote, kOnServer},
    {"smbfs", kRemote, kOnServer},
    {"ceph", kRemote, kOnServer},
    {"9p", kRemote, kOnServer},
    {"afs", kRemote, kOnServer},
    {"lustre", kRemote, kOnServer},
    {"gfs2", kRemote, kOnServer},
    {"ocfs2", kRemote, kOnServer},
    {"virtiofs", kRemote, kOnServer},
    {"fuse*", kUserSpace, kBelow},
    {"ecryptfs", "its files are seen as another filesystem's", kBelow},
    {"vfat", kUnstable, kUseUnix},
    {"msdos", kUnstable, kUseUnix},
    {"exfat", kUnstable, kUseUnix},
    {"ntfs*", kUnstable, kUseUnix},
    {"proc", kKernel, kAnother},
    {"sysfs", kKernel, kAnother},
    {"devtmpfs", kKernel, kAnother},
    {"devpts", kKernel, kAnother},
    {"cgroup*", kKernel, kAnother},
    {"debugfs", kKernel, kAnother},
    {"tracefs", kKernel, kAnother},
    {"securityfs", kKernel, kAnother},
    {"selinuxfs", kKernel, kAnother},
    {"configfs", kKernel, kAnother},
    {"efivarfs", kKernel, kAnother},
    {"pstore", kKernel, kAnother},
    {"bpf", kKernel, kAnother},
    {"binfmt_misc", kKernel, kAnother},
    {"mqueue", kKernel, kAnother},
    {"hugetlbfs", kKernel, kAnother},
    {"nsfs", kKernel, kAnother},
    {"rpc_pipefs", kKernel, kAnother},
    {"autofs", "it is only the place where filesystems get mounted",
     "mirror a directory of what is mounted there"},
};

bool Matches(const Refusal& refusal, std::string_view type) {
  if (!refusal.type.ends_with('*')) return refusal.type == type;
  return type.starts_with(refusal.type.substr(0, refusal.type.size() - 1));
}

}  // namespace

const Refusal* FindRefusal(std::string_view type) {
  const auto* found = std::find_if(std::begin(kRefusals), std::end(kRefusals),
                                   [type](const Refusal& each) { return Matches(each, type); });
  return found == std::end(kRefusals) ? nullptr : found;
}

}  // namespace fanmirror::watch
