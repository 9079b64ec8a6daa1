#include "config/place.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "model/failure.h"

namespace fanmirror::config {
namespace {

absl::Status Cannot(std::string_view call, const std::string& path) {
  return model::SystemFailure(model::Reaction::kHaltJob, call, path, errno,
                              "make it reachable or correct the path");
}

std::string Join(const std::string& directory, std::string_view rest) {
  if (rest.empty()) return directory;
  return absl::StrCat(directory == "/" ? "" : directory, "/", std::string(rest));
}

bool IsBeneath(const std::string& path, const std::string& directory) {
  return directory == "/" || path == directory || path.starts_with(directory + "/");
}

}  // namespace

absl::StatusOr<Place> Place::Resolve(const std::string& path) {
  Place place;
  // The deepest part that exists, without its symlinks.
  std::string existing = path;
  std::string rest;
  std::unique_ptr<char, decltype(&std::free)> real(nullptr, &std::free);
  while (real.reset(::realpath(existing.c_str(), nullptr)), real == nullptr) {
    struct stat status = {};
    const bool dangling = errno == ENOENT && lstat(existing.c_str(), &status) == 0;
    if (errno != ENOENT || dangling || existing == "/") {
      if (dangling) errno = ENOENT;
      return Cannot("realpath", existing);
    }
    const std::size_t slash = existing.rfind('/');
    rest = Join(existing.substr(slash + 1), rest);
    existing = slash == 0 ? "/" : existing.substr(0, slash);
  }
  place.real_ = Join(real.get(), rest);
  place.exists_ = rest.empty();

  int fd = open(real.get(), O_PATH | O_CLOEXEC);
  const auto closer = absl::MakeCleanup([&fd] { close(fd); });
  if (fd < 0) return Cannot("open", real.get());
  for (std::uint64_t mount = 0;;) {
    struct statx status = {};
    if (statx(fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_INO | STATX_MNT_ID, &status) != 0) {
      return Cannot("stat", real.get());
    }
    const Identity identity = {makedev(status.stx_dev_major, status.stx_dev_minor), status.stx_ino};
    // The root is its own parent. The mount tells it from a directory that is bind-mounted on its own child.
    if (!place.ancestors_.empty() && place.ancestors_.back() == identity && mount == status.stx_mnt_id) break;
    mount = status.stx_mnt_id;
    if (place.ancestors_.empty()) place.is_directory_ = S_ISDIR(status.stx_mode);
    place.ancestors_.push_back(identity);
    if (!S_ISDIR(status.stx_mode)) break;
    const int parent = openat(fd, "..", O_PATH | O_CLOEXEC | O_DIRECTORY);
    if (parent < 0) return Cannot("open the parent of", real.get());
    close(fd);
    fd = parent;
  }
  return place;
}

bool Place::SameAs(const Place& other) const {
  return real_ == other.real_ || (exists_ && other.exists_ && ancestors_.front() == other.ancestors_.front());
}

bool Place::IsInsideOrSame(const Place& other) const {
  if (IsBeneath(real_, other.real_)) return true;
  if (!other.exists_) return false;
  for (const Identity& identity : ancestors_) {
    if (identity == other.ancestors_.front()) return true;
  }
  return false;
}

}  // namespace fanmirror::config
