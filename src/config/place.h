#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace fanmirror::config {

// Where a path leads on this host, whether it exists yet or not: told by names and by identities, so that
// neither symlinks nor bind mounts hide that two paths are the same or one inside the other.
class Place {
 public:
  // `path` is absolute and has no ".." component. Blocks on the filesystem. The error is a SystemFailure.
  static absl::StatusOr<Place> Resolve(const std::string& path);

  bool exists() const { return exists_; }
  bool is_directory() const { return is_directory_; }
  // Without symlinks as far as it exists.
  const std::string& real() const { return real_; }

  bool SameAs(const Place& other) const;
  bool IsInsideOrSame(const Place& other) const;

 private:
  using Identity = std::pair<dev_t, ino_t>;

  // Also gives the id of the mount that `deepest` lies on.
  absl::Status ReadAncestors(const std::string& deepest, std::uint64_t* mount_id);

  bool exists_ = false;
  bool is_directory_ = false;
  std::string real_;
  // Of the deepest directory on the way that exists, and of all its parents up to the root.
  std::vector<Identity> ancestors_;
  // The filesystem, and the path on it: the same through every mount of any part of it. Empty when unknown.
  std::string filesystem_;
  std::string filesystem_path_;
};

}  // namespace fanmirror::config
