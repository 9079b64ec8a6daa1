#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace fanmirror::watch {

// The mount that a path lies on, as libmount sees it.
struct Mount {
  int id = 0;               // mount id (mountinfo)
  std::string target;       // mount point
  std::string source;       // device, or what mountinfo says
  std::string type;         // "ext4"
  std::string options;
  std::string root;         // root of the mount within the filesystem
  std::string filesystem;   // what identifies the filesystem over a remount: UUID where it has one, else type:st_dev
  std::uint64_t device = 0; // st_dev
};

// Resolves `path` (an existing directory; symlinks are followed) to its mount. Refuses (kHaltJob) what fanotify cannot
// see or handles cannot name: nfs, cifs, fuse, proc, sysfs, ...: one line with the reason and the cure.
absl::StatusOr<Mount> ResolveMount(const std::string& path);

// Whether the host's kernel and our privileges suffice: fanotify with the flags and the mask that we use. One line each.
absl::Status CheckHost();

}  // namespace fanmirror::watch
