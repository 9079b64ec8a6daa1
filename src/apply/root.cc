#include "apply/root.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <utility>

#include "absl/strings/string_view.h"
#include "apply/failures.h"
#include "model/failure.h"

namespace fanmirror::apply {
namespace {

// Directories that stay open: the working set of a batch, far below RLIMIT_NOFILE's usual 1024.
constexpr std::size_t kCachedDirectories = 256;
// Bytes of one look-up: the kernel takes PATH_MAX with the terminating NUL, longer paths go in pieces.
constexpr std::size_t kPieceBytes = PATH_MAX - 1;

absl::string_view Key(std::string_view path) { return {path.data(), path.size()}; }

int OpenPiece(int dir, std::string_view path, int flags, os::UniqueFd* out) {
  std::array<char, PATH_MAX> name;
  path.copy(name.data(), path.size());
  name[path.size()] = '\0';
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags | O_NOFOLLOW | O_CLOEXEC);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  const long fd = syscall(SYS_openat2, dir, name.data(), &how, sizeof how);
  if (fd < 0) return errno;
  out->reset(static_cast<int>(fd));
  return 0;
}

absl::Status OpenFailure(std::string_view call, const std::string& path, int errno_value,
                         std::string_view cure = "") {
  return model::SystemFailure(model::Reaction::kReconnect, call, path, errno_value, cure);
}

absl::Status MakeRoot(const std::string& path) {
  if (mkdir(path.c_str(), 0755) != 0) {
    return OpenFailure("mkdir", path, errno,
                       errno == ENOENT ? "make its parent directory on the target first" : "");
  }
  // Its name must last as long as what is put below it.
  const os::UniqueFd parent(open((path + "/..").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!parent || fsync(parent.get()) != 0) return OpenFailure("fsync the parent of", path, errno);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Root>> Root::Open(const std::string& path) {
  auto root = std::unique_ptr<Root>(new Root);
  root->fd_.reset(open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root->fd_ && errno == ENOENT && !path.empty()) {
    if (absl::Status status = MakeRoot(path); !status.ok()) return status;
    root->fd_.reset(open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  }
  if (!root->fd_) return OpenFailure("open", path, errno, "the root must be a directory on the target");
  root->sync_fd_.reset(openat(root->fd_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root->sync_fd_) return OpenFailure("open", path, errno, "run the receiver as root");
  std::array<char, PATH_MAX> name;
  const std::string link = "/proc/self/fd/" + std::to_string(root->fd_.get());
  const ssize_t length = readlink(link.c_str(), name.data(), name.size());
  if (length < 0) return OpenFailure("readlink", link, errno, "mount /proc on the target");
  root->path_.assign(name.data(), static_cast<std::size_t>(length));
  return root;
}

int Root::OpenFrom(int dir, std::string_view path, int flags, os::UniqueFd* out) const {
  os::UniqueFd held;
  while (path.size() > kPieceBytes) {
    const std::size_t cut = path.rfind('/', kPieceBytes);
    if (cut == std::string_view::npos) return ENAMETOOLONG;
    os::UniqueFd next;
    if (const int error = OpenPiece(dir, path.substr(0, cut), O_PATH | O_DIRECTORY, &next); error != 0)
      return error;
    held = std::move(next);
    dir = held.get();
    path.remove_prefix(cut + 1);
  }
  return OpenPiece(dir, path, flags, out);
}

int Root::Directory(std::string_view path, int* out) {
  if (path.empty()) {
    *out = fd_.get();
    return 0;
  }
  if (const auto found = by_path_.find(Key(path)); found != by_path_.end()) {
    recent_.splice(recent_.begin(), recent_, found->second);
  } else {
    os::UniqueFd fd;
    if (const int error = OpenFrom(fd_.get(), path, O_PATH | O_DIRECTORY, &fd); error != 0) return error;
    if (recent_.size() >= kCachedDirectories) {
      by_path_.erase(recent_.back().path);
      recent_.pop_back();
    }
    recent_.push_front({std::string(path), std::move(fd)});
    by_path_.emplace(recent_.front().path, recent_.begin());
  }
  *out = recent_.front().fd.get();
  return 0;
}

absl::StatusOr<Root::Place> Root::Locate(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  Place place;
  const std::string_view parent =
      slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
  if (const int error = Directory(parent, &place.dir); error != 0)
    return StepFailure(Step::kResolve, path, error);
  place.name.assign(slash == std::string_view::npos ? path : path.substr(slash + 1));
  return place;
}

absl::StatusOr<os::UniqueFd> Root::OpenNode(std::string_view path, int flags) {
  os::UniqueFd fd;
  if (path.empty()) {
    if (const int error = OpenPiece(fd_.get(), ".", flags, &fd); error != 0) {
      return StepFailure(Step::kResolve, path, error);
    }
    return fd;
  }
  absl::StatusOr<Place> place = Locate(path);
  if (!place.ok()) return place.status();
  if (const int error = OpenPiece(place->dir, place->name, flags, &fd); error != 0) {
    return StepFailure(Step::kInspect, path, error);
  }
  return fd;
}

void Root::Forget(std::string_view path) {
  for (auto at = recent_.begin(); at != recent_.end();) {
    const std::string_view cached = at->path;
    if (cached == path ||
        (cached.size() > path.size() && cached.starts_with(path) && cached[path.size()] == '/')) {
      by_path_.erase(at->path);
      at = recent_.erase(at);
    } else {
      ++at;
    }
  }
}

void Root::ForgetAll() {
  by_path_.clear();
  recent_.clear();
}

}  // namespace fanmirror::apply
