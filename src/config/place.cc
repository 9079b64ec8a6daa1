#include "config/place.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <optional>
#include <string_view>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
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

struct Mount {
  std::string device;  // "major:minor"
  std::string root;    // what of the filesystem is mounted
  std::string point;
};

// The kernel writes blanks and backslashes in the fields of mountinfo as three octal digits.
std::string Unescape(std::string_view field) {
  std::string out;
  for (std::size_t i = 0; i < field.size(); ++i) {
    if (field[i] == '\\' && i + 3 < field.size()) {
      out += static_cast<char>((field[i + 1] - '0') * 64 + (field[i + 2] - '0') * 8 + (field[i + 3] - '0'));
      i += 3;
    } else {
      out += field[i];
    }
  }
  return out;
}

std::optional<Mount> FindMount(std::uint64_t id) {
  std::ifstream table("/proc/self/mountinfo");
  for (std::string line; std::getline(table, line);) {
    const std::vector<std::string> fields = absl::StrSplit(line, absl::MaxSplits(' ', 5));
    if (fields.size() > 5 && fields[0] == absl::StrCat(id)) {
      return Mount{fields[2], Unescape(fields[3]), Unescape(fields[4])};
    }
  }
  return std::nullopt;
}

}  // namespace

absl::StatusOr<Place> Place::Resolve(const std::string& path) {
  // The deepest part that exists, without its symlinks.
  std::string existing = path;
  std::string rest;
  std::unique_ptr<char, decltype(&std::free)> real(nullptr, &std::free);
  while (real.reset(::realpath(existing.c_str(), nullptr)), real == nullptr) {
    struct stat status = {};
    const int error = errno;
    const bool dangling = error == ENOENT && lstat(existing.c_str(), &status) == 0;
    errno = error;
    if (error != ENOENT || dangling || existing == "/") return Cannot("realpath", existing);
    const std::size_t slash = existing.rfind('/');
    rest = Join(existing.substr(slash + 1), rest);
    existing = slash == 0 ? "/" : existing.substr(0, slash);
  }
  Place place;
  place.real_ = Join(real.get(), rest);
  place.exists_ = rest.empty();
  std::uint64_t mount_id = 0;
  if (absl::Status status = place.ReadAncestors(real.get(), &mount_id); !status.ok()) return status;
  const std::optional<Mount> mount = FindMount(mount_id);
  if (mount.has_value() && IsBeneath(place.real_, mount->point)) {
    const std::size_t point = mount->point == "/" ? 0 : mount->point.size();
    place.filesystem_ = mount->device;
    place.filesystem_path_ = Join(mount->root, place.real_.substr(std::min(point + 1, place.real_.size())));
  }
  return place;
}

absl::Status Place::ReadAncestors(const std::string& deepest, std::uint64_t* mount_id) {
  int fd = open(deepest.c_str(), O_PATH | O_CLOEXEC);
  if (fd < 0) return Cannot("open", deepest);
  const auto closer = absl::MakeCleanup([&fd] { close(fd); });
  for (std::uint64_t mount = 0;;) {
    struct statx status = {};
    if (statx(fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_INO | STATX_MNT_ID, &status) != 0) {
      return Cannot("stat", deepest);
    }
    const Identity identity = {makedev(status.stx_dev_major, status.stx_dev_minor), status.stx_ino};
    const bool first = ancestors_.empty();
    // The root is its own parent. The mount tells it from a directory that is bind-mounted on its own child.
    if (!first && ancestors_.back() == identity && mount == status.stx_mnt_id) break;
    mount = status.stx_mnt_id;
    ancestors_.push_back(identity);
    if (first) {
      *mount_id = mount;
      is_directory_ = S_ISDIR(status.stx_mode);
      if (!is_directory_) break;
    }
    const int parent = openat(fd, "..", O_PATH | O_CLOEXEC | O_DIRECTORY);
    if (parent < 0) return Cannot("open the parent of", deepest);
    close(fd);
    fd = parent;
  }
  return absl::OkStatus();
}

bool Place::SameAs(const Place& other) const {
  if (real_ == other.real_) return true;
  if (!filesystem_.empty() && filesystem_ == other.filesystem_ &&
      filesystem_path_ == other.filesystem_path_) {
    return true;
  }
  return exists_ && other.exists_ && ancestors_.front() == other.ancestors_.front();
}

bool Place::IsInsideOrSame(const Place& other) const {
  if (IsBeneath(real_, other.real_)) return true;
  if (!filesystem_.empty() && filesystem_ == other.filesystem_ &&
      IsBeneath(filesystem_path_, other.filesystem_path_)) {
    return true;
  }
  if (!other.exists_) return false;
  for (const Identity& identity : ancestors_) {
    if (identity == other.ancestors_.front()) return true;
  }
  return false;
}

}  // namespace fanmirror::config
