#include "os/testing/filesystem.h"

#include <fcntl.h>
#include <glob.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "os/unique_fd.h"

extern char** environ;

namespace fanmirror::os::testing {
namespace {

constexpr absl::Duration kReleaseTimeout = absl::Seconds(60);

absl::Status ErrnoStatus(const std::string& what) {
  return absl::InternalError(absl::StrCat(what, ": ", std::strerror(errno)));
}

// Everything that the command wrote; returns when it and all its children have closed the pipe.
std::string ReadToEnd(int fd) {
  std::string text;
  char buffer[4096];
  for (;;) {
    const ssize_t got = ::read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return text;
    text.append(buffer, static_cast<std::size_t>(got));
  }
}

// Whether a loop device stands on the image; it goes with its last user.
bool HasLoopDevice(const std::string& image) {
  glob_t found = {};
  bool has = false;
  if (::glob("/sys/block/loop*/loop/backing_file", GLOB_NOSORT, nullptr, &found) == 0) {
    for (std::size_t i = 0; i < found.gl_pathc && !has; ++i) {
      const UniqueFd file(::open(found.gl_pathv[i], O_RDONLY | O_CLOEXEC));
      has = file && ReadToEnd(file.get()) == image + "\n";
    }
  }
  ::globfree(&found);
  return has;
}

absl::Status MakeImage(const std::string& fstype, const std::string& image, std::uint64_t bytes,
                       const std::vector<std::string>& mkfs_options) {
  UniqueFd fd(::open(image.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
  if (!fd) return ErrnoStatus("open " + image);
  if (::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) return ErrnoStatus("ftruncate " + image);
  std::vector<std::string> command = {"mkfs." + fstype, "-q", fstype == "ext4" ? "-F" : "-f"};
  if (fstype == "ext4") command.insert(command.end(), {"-i", "4096"});
  command.insert(command.end(), mkfs_options.begin(), mkfs_options.end());
  command.push_back(image);
  return RunCommand(command);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ScopedDirectory>> ScopedDirectory::Create() {
  const char* parent = std::getenv("TEST_TMPDIR");
  std::string path = absl::StrCat(parent != nullptr ? parent : "/tmp", "/fanmirror-XXXXXX");
  if (::mkdtemp(path.data()) == nullptr) return ErrnoStatus("mkdtemp " + path);
  char* real = ::realpath(path.c_str(), nullptr);
  if (real == nullptr) return ErrnoStatus("realpath " + path);
  path = real;
  std::free(real);
  return std::unique_ptr<ScopedDirectory>(new ScopedDirectory(std::move(path)));
}

ScopedDirectory::~ScopedDirectory() {
  // rm goes to any depth, which nftw with its paths does not.
  (void)RunCommand({"rm", "-rf", "--one-file-system", "--", path_});
}

absl::StatusOr<std::unique_ptr<ScopedFilesystem>> ScopedFilesystem::Create(
    const std::string& fstype, std::uint64_t bytes, const std::vector<std::string>& mkfs_options) {
  std::unique_ptr<ScopedFilesystem> made(new ScopedFilesystem);
  made->fstype_ = fstype;
  made->bytes_ = bytes;
  absl::StatusOr<std::unique_ptr<ScopedDirectory>> home = ScopedDirectory::Create();
  if (!home.ok()) return home.status();
  made->home_ = *std::move(home);
  const std::string mount_point = made->home_->path() + "/mnt";
  if (::mkdir(mount_point.c_str(), 0755) != 0) return ErrnoStatus("mkdir " + mount_point);
  if (fstype != "tmpfs") {
    made->image_ = made->home_->path() + "/image";
    if (absl::Status status = MakeImage(fstype, made->image_, bytes, mkfs_options); !status.ok())
      return status;
  }
  made->path_ = mount_point;
  if (absl::Status status = made->Mount(); !status.ok()) return status;
  return made;
}

ScopedFilesystem::~ScopedFilesystem() {
  // Once for each time that something was mounted here; EINVAL says that nothing is left.
  while (!path_.empty() && (::umount2(path_.c_str(), 0) == 0 || ::umount2(path_.c_str(), MNT_DETACH) == 0)) {
  }
}

absl::Status ScopedFilesystem::Mount(const std::string& options) {
  const std::string more = options.empty() ? "" : "," + options;
  if (fstype_ == "tmpfs") {
    return RunCommand(
        {"mount", "-t", "tmpfs", "-o", absl::StrCat("size=", bytes_, more), "fanmirror-test", path_});
  }
  return RunCommand({"mount", "-t", fstype_, "-o", absl::StrCat("loop", more), image_, path_});
}

absl::Status ScopedFilesystem::Unmount() { return RunCommand({"umount", path_}); }

absl::Status ScopedFilesystem::WaitUntilReleased() const {
  const absl::Time deadline = absl::Now() + kReleaseTimeout;
  while (!image_.empty() && HasLoopDevice(image_)) {
    if (absl::Now() > deadline) return absl::DeadlineExceededError("still in use: " + image_);
    absl::SleepFor(absl::Milliseconds(5));
  }
  return absl::OkStatus();
}

absl::Status ScopedFilesystem::ShutDown() const {
  // EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN are the same.
  constexpr unsigned long kShutdown = _IOR('X', 125, std::uint32_t);
  std::uint32_t without_log = 2;
  const UniqueFd fd(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd && ::ioctl(fd.get(), kShutdown, &without_log) == 0) return absl::OkStatus();
  return ErrnoStatus("shut down " + path_);
}

absl::Status ScopedFilesystem::Corrupt(const std::string& bytes) {
  const UniqueFd image(::open(image_.c_str(), O_RDWR | O_CLOEXEC));
  if (!image) return ErrnoStatus("open " + image_);
  std::vector<char> block(1 << 20);
  int spoiled = 0;
  for (off_t at = ::lseek(image.get(), 0, SEEK_DATA); at >= 0;) {
    const ssize_t got = ::pread(image.get(), block.data(), block.size(), at);
    if (got <= 0) break;
    const std::string_view text(block.data(), static_cast<std::size_t>(got));
    for (std::size_t found = text.find(bytes); found != text.npos; found = text.find(bytes, found + 1)) {
      const char other = static_cast<char>(~bytes[0]);
      if (::pwrite(image.get(), &other, 1, at + static_cast<off_t>(found)) != 1)
        return ErrnoStatus("pwrite " + image_);
      ++spoiled;
    }
    at = ::lseek(image.get(), at + got, SEEK_DATA);
  }
  return spoiled > 0 ? absl::OkStatus() : absl::NotFoundError("nothing to corrupt in " + image_);
}

std::vector<std::string> AllFilesystems() { return {"ext4", "xfs", "btrfs", "tmpfs"}; }

bool IsRoot() { return ::geteuid() == 0; }

absl::Status RunCommand(const std::vector<std::string>& command) {
  std::vector<char*> argv;
  for (const std::string& argument : command) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return ErrnoStatus("pipe2");
  UniqueFd reading(ends[0]);
  UniqueFd writing(ends[1]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, writing.get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, writing.get(), STDERR_FILENO);
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  writing.reset();
  const std::string line = absl::StrJoin(command, " ");
  if (error != 0) return absl::InternalError(absl::StrCat(line, ": ", std::strerror(error)));
  const std::string output = ReadToEnd(reading.get());
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(line, ": wait status ", status, ": ", output));
}

}  // namespace fanmirror::os::testing
