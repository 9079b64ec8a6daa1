// Where a node lies: os::Tree::Locate.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "model/failure.h"
#include "os/entries.h"
#include "os/tree.h"

namespace fanmirror::os {
namespace {

using model::FileId;
using model::Reaction;

// Paths that turn out wrong because something above was renamed after they were read.
constexpr int kLocateAttempts = 20;
// Directories from a node up to the root. No limit of any filesystem, but of our patience: a path of single
// letters is 200 kB long by then.
constexpr int kMaxDepth = 100'000;

using Place = Tree::Place;

// The kernel's idea of where `fd` is, relative to the root of its mount and beginning with '/'. Returns 0 or
// an errno.
int PathOf(int fd, std::string* path) {
  std::array<char, PATH_MAX + 1> buffer;
  const std::string link = absl::StrCat("/proc/self/fd/", fd);
  const ssize_t got = ::readlink(link.c_str(), buffer.data(), buffer.size());
  if (got < 0) return errno;
  path->assign(buffer.data(), static_cast<std::size_t>(got));
  return 0;
}

// A descriptor (O_PATH) of the directory at `path`, "" for the root, or -1 with errno.
UniqueFd OpenBeneath(int root_fd, const std::string& path) {
  open_how how = {};
  how.flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
  return UniqueFd(
      static_cast<int>(::syscall(SYS_openat2, root_fd, path.empty() ? "." : path.c_str(), &how, sizeof how)));
}

// Whether the entry at `path` (relative, not "") is `id`; if so `place` is filled in.
bool Verify(int root_fd, const FileId& id, const std::string& path, Place* place) {
  const std::size_t slash = path.rfind('/');
  const std::string parent = slash == std::string::npos ? "" : path.substr(0, slash);
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  if (name.empty()) return false;
  const UniqueFd dir = OpenBeneath(root_fd, parent);
  FileId found;
  if (!dir || IdAt(dir.get(), name.c_str(), &found) != 0 || found != id) return false;
  if (IdAt(dir.get(), "", &place->name.dir) != 0) return false;
  place->kind = Place::Kind::kInside;
  place->path = path;
  place->name.name = name;
  return true;
}

absl::Status LocateFailure(const char* call, const FileId& id, int error) {
  return model::SystemFailure(Reaction::kRetry, call, id.ToString(), error);
}

// The name of `id` in directory `dir`; nullopt when it has none there.
absl::StatusOr<std::optional<std::string>> NameIn(int dir_fd, const FileId& id) {
  const UniqueFd listing(::openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_NOATIME | O_CLOEXEC));
  if (!listing) return LocateFailure("open", id, errno);
  Entries entries;
  entries.Start(listing.get());
  for (;;) {
    Entries::Entry entry;
    int error = 0;
    switch (entries.Next(&entry, &error)) {
      case Entries::Result::kEnd:
        return std::nullopt;
      case Entries::Result::kError:
        return LocateFailure("getdents64", id, error);
      case Entries::Result::kEntry:
        FileId found;
        // Not by inode number: the entry of a btrfs subvolume has another than the subvolume's root.
        if (IdAt(dir_fd, entry.name, &found) == 0 && found == id) return std::string(entry.name);
    }
  }
}

std::string JoinReversed(const std::vector<std::string>& names) {
  std::string path;
  for (auto name = names.rbegin(); name != names.rend(); ++name) {
    if (!path.empty()) path += '/';
    path += *name;
  }
  return path;
}

}  // namespace

absl::StatusOr<std::optional<std::string>> Tree::PathOfOpen(const FileId& id, int fd) const {
  if (id == root_) return std::string();
  std::string path;
  const int error = PathOf(fd, &path);
  if (error == ENAMETOOLONG) return PathInTheDepth(id, "");
  if (error != 0) return LocateFailure("readlink", id, error);
  if (path.size() < 2 || path[0] != '/') return std::nullopt;
  path.erase(0, 1);
  // The kernel's mark of what was removed, unless it is called so.
  Place place;
  if (path.ends_with(" (deleted)") && !Verify(root_fd(), id, path, &place)) return std::nullopt;
  return path;
}

absl::StatusOr<std::optional<std::string>> Tree::PathByName(const FileId& id, const model::Name& name) const {
  absl::StatusOr<std::optional<UniqueFd>> dir = HoldDirectory(name.dir);
  if (!dir.ok()) return dir.status();
  if (!dir->has_value()) return std::nullopt;
  const UniqueFd fd(::openat((*dir)->get(), name.name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!fd && errno != ENOENT) return LocateFailure("open", id, errno);
  FileId found;
  if (!fd || IdAt(fd.get(), "", &found) != 0 || found != id) return std::nullopt;
  std::string path;
  if (PathOf(fd.get(), &path) == ENAMETOOLONG) return PathInTheDepth(name.dir, "/" + name.name);
  return PathOfOpen(id, fd.get());
}

// What the kernel cannot say at one moment.
absl::StatusOr<std::optional<std::string>> Tree::PathInTheDepth(const FileId& dir, const std::string& rest) const {
  const absl::StatusOr<Place> place = Locate(dir);
  if (!place.ok()) return place.status();
  if (place->kind != Place::Kind::kInside) return std::nullopt;
  return place->path + rest;
}

absl::StatusOr<Place> Tree::Locate(const FileId& id) const {
  Place place;
  absl::StatusOr<std::optional<UniqueFd>> fd = OpenNode(id, O_PATH);
  if (!fd.ok()) return fd.status();
  if (!fd->has_value()) return place;
  if (id == root_) {
    place.kind = Place::Kind::kInside;
    return place;
  }
  model::Metadata metadata;
  if (const int error = StatAt((*fd)->get(), "", &metadata)) return LocateFailure("statx", id, error);
  const bool is_directory = metadata.type == model::NodeType::kDirectory;
  for (int attempt = 0; attempt < kLocateAttempts; ++attempt) {
    std::string path;
    const int error = PathOf((*fd)->get(), &path);
    if (error == ENAMETOOLONG) break;
    if (error != 0) return LocateFailure("readlink", id, error);
    if (path == "/" || path.empty() || path[0] != '/') {
      // Not below our mount's root. The kernel connects a directory to its parents when it opens it, other
      // nodes not.
      place.kind = is_directory ? Place::Kind::kOutside : Place::Kind::kUnknown;
      return place;
    }
    if (Verify(root_fd(), id, path.substr(1), &place)) return place;
    absl::StatusOr<std::optional<model::Node>> still = LookNode(id);
    if (!still.ok()) return still.status();
    if (!still->has_value()) return Place();
  }
  if (is_directory) return LocateByListing(id, *std::move(*fd));
  place.kind = Place::Kind::kUnknown;
  return place;
}

// From the directory up through "..", finding each name in the directory above: for paths that the kernel
// cannot say because they are longer than PATH_MAX.
absl::StatusOr<Place> Tree::LocateByListing(const FileId& id, UniqueFd dir) const {
  Place place;
  std::vector<std::string> names;
  FileId child = id;
  for (int depth = 0; depth < kMaxDepth; ++depth) {
    UniqueFd parent(::openat(dir.get(), "..", O_PATH | O_DIRECTORY | O_CLOEXEC));
    // ENOENT: the kernel does not go up where the mount's root is not above.
    if (!parent && errno != ENOENT) return LocateFailure("open ..", id, errno);
    FileId above;
    if (parent) {
      if (const int error = IdAt(parent.get(), "", &above))
        return LocateFailure("name_to_handle_at ..", id, error);
    }
    if (!parent || above == child) {
      absl::StatusOr<std::optional<model::Node>> still = LookNode(child);
      if (!still.ok()) return still.status();
      place.kind = still->has_value() ? Place::Kind::kOutside : Place::Kind::kGone;
      return place;
    }
    absl::StatusOr<std::optional<std::string>> name = NameIn(parent.get(), child);
    if (!name.ok()) return name.status();
    if (!name->has_value()) break;  // moved meanwhile
    if (depth == 0) place.name = {above, **name};
    names.push_back(**std::move(name));
    if (above == root_) {
      place.kind = Place::Kind::kInside;
      place.path = JoinReversed(names);
      return place;
    }
    child = above;
    dir = std::move(parent);
  }
  return model::Failure(Reaction::kRetry,
                        absl::StrCat("locate ", id.ToString(), ": it is being moved, or lies below ",
                                     kMaxDepth, " directories"));
}

}  // namespace fanmirror::os
