#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "os/unique_fd.h"

namespace fanmirror::apply {

// The directory that the receiver was given, and the only way to anything below it: every look-up stays
// beneath the root, follows no symlink and enters no other mount. Paths are relative to it (see model::Op)
// and may be of any length. One thread, but for sync_fd.
class Root {
 public:
  // Symlinks in `path` are followed, this once. Made when missing, if its parent exists.
  static absl::StatusOr<std::unique_ptr<Root>> Open(const std::string& path);

  int fd() const { return fd_.get(); }               // O_PATH
  int sync_fd() const { return sync_fd_.get(); }     // for syncfs(2): sees write-back errors since Open
  const std::string& path() const { return path_; }  // absolute, without symlinks

  // An entry of a directory below the root. `dir` is borrowed from the cache: valid through one more call of
  // Locate.
  struct Place {
    int dir = -1;
    std::string name;
  };
  absl::StatusOr<Place> Locate(std::string_view path);

  // Opens `path` itself ("" the root); a symlink only with O_PATH. O_NOFOLLOW and O_CLOEXEC are added.
  absl::StatusOr<os::UniqueFd> OpenNode(std::string_view path, int flags);

  // What was at `path` and below is somewhere else now.
  void Forget(std::string_view path);
  // Directories may have been moved by others: look them all up again.
  void ForgetAll();

 private:
  Root() = default;
  // 0 and `out`, or an errno.
  int OpenFrom(int dir, std::string_view path, int flags, os::UniqueFd* out) const;
  int Directory(std::string_view path, int* out);

  os::UniqueFd fd_;
  os::UniqueFd sync_fd_;
  std::string path_;

  struct Cached {
    std::string path;
    os::UniqueFd fd;
  };
  std::list<Cached> recent_;  // used last first
  absl::flat_hash_map<std::string, std::list<Cached>::iterator> by_path_;
};

}  // namespace fanmirror::apply
