#include "replicate/state_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>

#include "model/failure.h"
#include "os/unique_fd.h"

namespace fanmirror::replicate {
namespace {

// Far more than we write; a larger file is not ours.
constexpr std::size_t kMaxBytes = 4096;

absl::Status Failed(const char* call, const std::string& path, int error) {
  const bool shortage = error == ENOSPC || error == EDQUOT || error == ENOMEM || error == EMFILE || error == ENFILE;
  return model::SystemFailure(shortage ? model::Reaction::kRetry : model::Reaction::kHaltJob, call, path, error,
                              shortage ? "make room there" : "check the disk it is on");
}

absl::Status SyncDirectoryOf(const std::string& path) {
  const std::string directory = path.substr(0, path.rfind('/'));
  const os::UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return Failed("open", directory, errno);
  return ::fsync(fd.get()) == 0 ? absl::OkStatus() : Failed("fsync", directory, errno);
}

}  // namespace

absl::StatusOr<std::optional<std::string>> ReadStateFile(const std::string& path) {
  const os::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd && errno == ENOENT) return std::nullopt;
  if (!fd) return Failed("open", path, errno);
  std::array<char, kMaxBytes> text;
  const ssize_t size = ::read(fd.get(), text.data(), text.size());
  if (size < 0) return Failed("read", path, errno);
  return std::string(text.data(), static_cast<std::size_t>(size));
}

absl::Status WriteStateFile(const std::string& path, const std::string& text) {
  const std::string fresh = path + ".new";
  const os::UniqueFd fd(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd) return Failed("create", fresh, errno);
  const ssize_t written = ::write(fd.get(), text.data(), text.size());
  if (written != static_cast<ssize_t>(text.size())) return Failed("write", fresh, written < 0 ? errno : ENOSPC);
  if (::fsync(fd.get()) != 0) return Failed("fsync", fresh, errno);
  if (::rename(fresh.c_str(), path.c_str()) != 0) return Failed("rename", fresh, errno);
  return SyncDirectoryOf(path);
}

absl::Status RemoveStateFile(const std::string& path) {
  if (::unlink(path.c_str()) != 0) return errno == ENOENT ? absl::OkStatus() : Failed("unlink", path, errno);
  return SyncDirectoryOf(path);
}

}  // namespace fanmirror::replicate
