#include "daemon/state_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "daemon/private_directory.h"
#include "model/failure.h"

namespace fanmirror::daemon {
namespace {

std::string HolderOf(int fd) {
  std::array<char, 32> text{};
  const ssize_t length = ::pread(fd, text.data(), text.size(), 0);
  const std::string pid(text.data(), length > 0 ? static_cast<std::size_t>(length) : 0);
  const std::string stripped(absl::StripAsciiWhitespace(pid));
  return stripped.empty() ? "another process" : "process " + stripped;
}

// Who else can write here can put a symlink in our way, and root would write where it leads.
absl::Status CheckOwn(const std::string& state_dir) {
  struct stat st {};
  if (::stat(state_dir.c_str(), &st) != 0) {
    return model::SystemFailure(model::Reaction::kHaltJob, "stat", state_dir, errno);
  }
  if (st.st_uid == ::geteuid() && (st.st_mode & (S_IWGRP | S_IWOTH)) == 0) return absl::OkStatus();
  const std::string quoted = model::QuotePath(state_dir);
  return model::Failure(model::Reaction::kHaltJob,
                        absl::StrCat("state directory ", quoted, " can be written by others; chown it to user ",
                                     ::geteuid(), " and chmod 700 it, or choose another state directory"));
}

}  // namespace

absl::StatusOr<StateLock> StateLock::Take(const std::string& state_dir) {
  if (absl::Status made = MakePrivateDirectory(state_dir); !made.ok()) return made;
  if (absl::Status own = CheckOwn(state_dir); !own.ok()) return own;
  const std::string path = state_dir + "/lock";
  os::UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd)
    return model::SystemFailure(model::Reaction::kHaltJob, "open", path, errno, "choose another state_dir");
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return model::SystemFailure(model::Reaction::kHaltJob, "flock", path, errno);
    return model::Failure(model::Reaction::kHaltJob,
                          absl::StrCat("state directory ", model::QuotePath(state_dir), " is in use by ",
                                       HolderOf(fd.get()), "; stop it, or choose another state directory"));
  }
  const std::string pid = absl::StrCat(::getpid(), "\n");
  if (::ftruncate(fd.get(), 0) != 0 || ::pwrite(fd.get(), pid.data(), pid.size(), 0) < 0) {
    return model::SystemFailure(model::Reaction::kHaltJob, "write", path, errno, "make room");
  }
  return StateLock(std::move(fd));
}

}  // namespace fanmirror::daemon
