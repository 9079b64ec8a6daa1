#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "link/child.h"
#include "link/ending.h"
#include "link/link.h"
#include "link/stderr_lines.h"
#include "link/wait.h"
#include "model/failure.h"
#include "os/unique_fd.h"

namespace fanmirror::link {
namespace {

using model::Reaction;

struct Ends {
  os::UniqueFd ours;  // non-blocking
  os::UniqueFd theirs;
};

constexpr std::string_view kCure = "raise the limit of open files";

absl::StatusOr<Ends> Adopt(int ours, int theirs) {
  Ends ends{os::UniqueFd(ours), os::UniqueFd(theirs)};
  if (::fcntl(ours, F_SETFL, O_NONBLOCK) == 0) return ends;
  return model::SystemFailure(Reaction::kReconnect, "fcntl", "", errno);
}

// For data: a pair of sockets moves a byte for two thirds of the time that a pipe of any size takes.
absl::StatusOr<Ends> MakeSockets() {
  std::array<int, 2> fds;
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()) == 0) return Adopt(fds[0], fds[1]);
  return model::SystemFailure(Reaction::kReconnect, "socketpair", "", errno, kCure);
}

// For stderr: programs open /dev/stderr, and a socket cannot be opened.
absl::StatusOr<Ends> MakePipe() {
  std::array<int, 2> fds;
  if (::pipe2(fds.data(), O_CLOEXEC) == 0) return Adopt(fds[0], fds[1]);
  return model::SystemFailure(Reaction::kReconnect, "pipe2", "", errno, kCure);
}

class LocalLink : public Link {
 public:
  LocalLink(std::string name, std::unique_ptr<Child> child, os::UniqueFd to, os::UniqueFd from, os::UniqueFd errors,
            StderrSink sink)
      : name_(std::move(name)), child_(std::move(child)), to_(std::move(to)), from_(std::move(from)),
        errors_(std::move(errors)), lines_(std::move(sink)) {}

  absl::StatusOr<std::size_t> Write(absl::Span<const char> data) override;
  absl::StatusOr<std::size_t> Read(absl::Span<char> buffer) override;
  bool WritePending() const override { return false; }
  absl::StatusOr<Ready> Wait(bool want_write, int wakeup_fd, absl::Duration timeout) override;

 private:
  void ReadErrors();
  // The far side is gone: 0 until its exit status is known, then the error that tells it.
  absl::StatusOr<std::size_t> Ended();

  std::string name_;
  // Destroyed last: the ends of its pipes are closed before it is waited for.
  std::unique_ptr<Child> child_;
  os::UniqueFd to_;
  os::UniqueFd from_;
  os::UniqueFd errors_;
  StderrLines lines_;
  Ending ending_;
};

absl::StatusOr<std::size_t> LocalLink::Write(absl::Span<const char> data) {
  if (ending_.begun()) return Ended();
  const ssize_t taken = ::send(to_.get(), data.data(), data.size(), MSG_NOSIGNAL);
  if (taken >= 0) return static_cast<std::size_t>(taken);
  if (errno == EAGAIN || errno == EINTR) return 0;
  return Ended();
}

absl::StatusOr<std::size_t> LocalLink::Read(absl::Span<char> buffer) {
  const ssize_t got = ::read(from_.get(), buffer.data(), buffer.size());
  if (got > 0) return static_cast<std::size_t>(got);
  ReadErrors();
  if (got < 0 && (errno == EAGAIN || errno == EINTR) && !ending_.begun()) return 0;
  return Ended();
}

void LocalLink::ReadErrors() {
  const int saved_errno = errno;
  if (errors_ && !lines_.AddFrom(errors_.get())) {
    lines_.Finish();
    errors_.reset();
  }
  errno = saved_errno;
}

absl::StatusOr<std::size_t> LocalLink::Ended() {
  ending_.Begin();
  child_->CheckEnd(&ending_);
  if (!ending_.complete()) return 0;
  ReadErrors();
  lines_.Finish();
  return ending_.ToStatus(name_, lines_.last_line());
}

absl::StatusOr<Link::Ready> LocalLink::Wait(bool want_write, int wakeup_fd, absl::Duration timeout) {
  WaitDeadline deadline(timeout);
  for (;;) {
    const bool ending = ending_.begun();
    // A stream that has ended is always readable: then the exit is what is waited for.
    std::array<pollfd, 5> fds{{{wakeup_fd, POLLIN, 0},
                               {errors_.get(), POLLIN, 0},
                               {ending ? -1 : from_.get(), POLLIN, 0},
                               {want_write && !ending ? to_.get() : -1, POLLOUT, 0},
                               {ending ? child_->pidfd() : -1, POLLIN, 0}}};
    int milliseconds = deadline.MillisecondsLeft();
    if (ending) milliseconds = SoonerOf(milliseconds, ending_.MillisecondsLeft());
    const int ready = ::poll(fds.data(), fds.size(), milliseconds);
    if (ready < 0 && errno != EINTR) return model::SystemFailure(Reaction::kReconnect, "poll", name_, errno);
    if (ready < 0) continue;
    if (fds[1].revents != 0) ReadErrors();
    if (fds[0].revents != 0) return Ready{.wakeup = true};
    if (ready == 0 || fds[2].revents != 0 || fds[3].revents != 0 || fds[4].revents != 0) return Ready{};
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Link>> StartLocal(const std::vector<std::string>& argv, StderrSink stderr_sink) {
  auto in = MakeSockets();
  if (!in.ok()) return in.status();
  auto out = MakeSockets();
  if (!out.ok()) return out.status();
  auto err = MakePipe();
  if (!err.ok()) return err.status();
  auto child = Child::Start(argv, in->theirs.get(), out->theirs.get(), err->theirs.get());
  if (!child.ok()) return child.status();
  return std::make_unique<LocalLink>(absl::StrCat("the local receiver ", model::QuotePath(argv[0])), *std::move(child),
                                     std::move(in->ours), std::move(out->ours), std::move(err->ours),
                                     std::move(stderr_sink));
}

}  // namespace fanmirror::link
