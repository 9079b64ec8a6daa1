#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace fanmirror::watch {

// The mount that a path lies on, as libmount sees it.
struct Mount {
  int id = 0;          // mount id (mountinfo)
  std::string target;  // mount point
  std::string source;  // device, or what mountinfo says
  std::string type;    // "ext4"
  std::string options;
  std::string root;  // root of the mount within the filesystem
  std::string
      filesystem;  // what identifies the filesystem over a remount: UUID where it has one, else type:st_dev
  std::uint64_t device = 0;  // st_dev of the path that was resolved (a btrfs has one for each subvolume)
  std::uint64_t superblock = 0;  // device number of the filesystem as a whole, for as long as it is mounted
};

// Resolves `path` (an existing directory; symlinks are followed) to its mount. Refuses (kHaltJob) what
// fanotify cannot see or handles cannot name: nfs, cifs, fuse, proc, sysfs, ...: one line with the reason and
// the cure. Blocks on the filesystem, and on its device to read the UUID.
absl::StatusOr<Mount> ResolveMount(const std::string& path);

// Whether the mount table still has this very mount. It may be hidden by another one mounted over it: whether
// the source still lies on it, ResolveMount(source) tells. The kernel uses ids again: that the filesystem was
// not unmounted and mounted anew in between, Watcher::MarkAlive tells.
absl::StatusOr<bool> IsStillMounted(const Mount& mount);

// Tells when the mount table of this process's mount namespace changed.
class MountMonitor {
 public:
  static absl::StatusOr<std::unique_ptr<MountMonitor>> Open();
  virtual ~MountMonitor() = default;
  // Blocks until the table changed since the last call that said so (or since Open): true; false after
  // `timeout` or Wake. One thread at a time.
  virtual absl::StatusOr<bool> Wait(absl::Duration timeout) = 0;
  // Ends a Wait, also the next one when none is under way. From any thread.
  virtual void Wake() = 0;
};

// Whether the host's kernel and our privileges suffice: fanotify with the flags and the mask that we use. One
// line each.
absl::Status CheckHost();

}  // namespace fanmirror::watch
