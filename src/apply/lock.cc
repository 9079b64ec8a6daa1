#include "apply/lock.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <optional>
#include <string_view>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "apply/text_lines.h"
#include "model/failure.h"

namespace fanmirror::apply {
namespace {

constexpr const char* kName = "lock";
// Between two tries for a lock whose holder is writing its name, or dying.
constexpr absl::Duration kRetryInterval = absl::Milliseconds(20);

struct Recorded {
  pid_t pid = 0;
  LockHolder holder;
};

absl::Status Failed(std::string_view call, int errno_value) {
  return model::SystemFailure(model::Reaction::kReconnect, call, ".fanmirror/lock", errno_value);
}

// nullopt: the holder is about to write it, or it is damaged.
std::optional<Recorded> ReadHolder(int fd) {
  std::array<char, 8192> buffer;
  const ssize_t size = pread(fd, buffer.data(), buffer.size(), 0);
  if (size <= 0) return std::nullopt;
  std::string_view text(buffer.data(), static_cast<std::size_t>(size));
  Recorded recorded;
  const auto pid = TakeLine("pid=", &text);
  auto instance = pid ? TakeLine("instance=", &text) : std::nullopt;
  auto source = instance ? TakeLine("source=", &text) : std::nullopt;
  if (!source || !absl::SimpleAtoi(*pid, &recorded.pid) || recorded.pid <= 0) return std::nullopt;
  recorded.holder = {std::move(*instance), std::move(*source)};
  return recorded;
}

absl::Status WriteHolder(int home_fd, const LockHolder& me) {
  const std::string text =
      absl::StrCat("pid=", getpid(), "\ninstance=", me.instance, "\nsource=", me.source, "\n");
  const os::UniqueFd fd(openat(home_fd, kName, O_WRONLY | O_TRUNC | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return Failed("open", errno);
  const ssize_t written = write(fd.get(), text.data(), text.size());
  if (written != static_cast<ssize_t>(text.size())) return Failed("write", written < 0 ? errno : ENOSPC);
  return absl::OkStatus();
}

// Beside the flock(2), which excludes, the holder has a lock that the kernel tells the owner of: /proc/PID/fd of a receiver
// that has confined itself can be read by nobody else that has.
constexpr struct flock kOwnership(short type) { return {type, SEEK_SET, 0, 0, 0}; }

absl::Status TakeOwnership(int fd) {
  const struct flock mine = kOwnership(F_RDLCK);
  if (fcntl(fd, F_SETLK, &mine) != 0) return Failed("fcntl(F_SETLK)", errno);
  return absl::OkStatus();
}

// Whether the process holds the lock: its pid may mean another process by now.
bool Owns(pid_t pid, int fd) {
  struct flock other = kOwnership(F_WRLCK);
  return fcntl(fd, F_GETLK, &other) == 0 && other.l_type != F_UNLCK && other.l_pid == pid;
}

// Sends `signal` and waits until the process is gone or patience is at its end.
bool EndedBy(int pidfd, int signal) {
  if (syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0) != 0 && errno != ESRCH) return false;
  pollfd gone{pidfd, POLLIN, 0};
  const absl::Time deadline = absl::Now() + kLockPatience;
  for (;;) {
    const int left = static_cast<int>(absl::ToInt64Milliseconds(deadline - absl::Now()));
    const int ready = poll(&gone, 1, left > 0 ? left : 0);
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

// Ends the stale receiver; false when it is none or lives on.
bool EndStale(pid_t pid, int lock_fd) {
  if (pid == getpid()) return false;
  // The pidfd first: what is verified after it was opened holds for the process that it means.
  const os::UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd) return errno == ESRCH;
  if (!Owns(pid, lock_fd)) return false;
  return EndedBy(pidfd.get(), SIGTERM) || EndedBy(pidfd.get(), SIGKILL);
}

absl::Status Refusal(const std::optional<Recorded>& recorded, const std::string& root) {
  const std::string who =
      recorded ? absl::StrCat("process ", recorded->pid, " (instance ", recorded->holder.instance,
                              ", source ", recorded->holder.source, ")")
               : std::string("a process that does not give its name");
  return model::Failure(
      model::Reaction::kReconnect,
      absl::StrCat("lock ", model::QuotePath(root), ": another receiver is at work there: ", who,
                   "; one source a target directory: stop that one or give this job another path"));
}

}  // namespace

absl::StatusOr<os::UniqueFd> AcquireLock(int home_fd, const LockHolder& me, const std::string& root) {
  // Not for writing: that would keep an administrator from remounting the filesystem read-only.
  os::UniqueFd fd(openat(home_fd, kName, O_RDONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600));
  if (!fd) return Failed("open", errno);
  const absl::Time deadline = absl::Now() + kLockPatience;
  bool ended_stale = false;
  for (;;) {
    if (flock(fd.get(), LOCK_EX | LOCK_NB) == 0) break;
    if (errno != EWOULDBLOCK) return Failed("flock", errno);
    const std::optional<Recorded> recorded = ReadHolder(fd.get());
    const bool same = recorded && recorded->holder.instance == me.instance;
    if ((recorded && !same) || absl::Now() > deadline) return Refusal(recorded, root);
    if (same && !ended_stale) {
      ended_stale = EndStale(recorded->pid, fd.get());
      if (!ended_stale) return Refusal(recorded, root);
    }
    absl::SleepFor(kRetryInterval);
  }
  if (absl::Status status = WriteHolder(home_fd, me); !status.ok()) return status;
  // After that: to close any descriptor of the file gives this one up.
  if (absl::Status status = TakeOwnership(fd.get()); !status.ok()) return status;
  return fd;
}

}  // namespace fanmirror::apply
