#include "link/abort_guard.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <system_error>

#include "link/wait.h"
#include "model/failure.h"

namespace fanmirror::link {

absl::StatusOr<std::unique_ptr<AbortGuard>> AbortGuard::Start(int socket_fd, int wakeup_fd, absl::Duration timeout) {
  os::UniqueFd socket(::fcntl(socket_fd, F_DUPFD_CLOEXEC, 0));
  os::UniqueFd stop(::eventfd(0, EFD_CLOEXEC));
  if (!socket || !stop) {
    return model::SystemFailure(model::Reaction::kReconnect, "eventfd", "", errno, "raise the limit of open files");
  }
  std::unique_ptr<AbortGuard> guard(new AbortGuard(std::move(socket), std::move(stop)));
  // The new thread must take no signal that is meant for the threads of the process that handle them.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = 0;
  try {
    guard->thread_ = std::thread(&AbortGuard::Run, guard.get(), wakeup_fd, timeout);
  } catch (const std::system_error& e) {
    error = e.code().value();
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error != 0) return model::SystemFailure(model::Reaction::kReconnect, "start a thread", "", error);
  return guard;
}

AbortGuard::Cause AbortGuard::Stop() {
  if (thread_.joinable()) {
    ::eventfd_write(stop_.get(), 1);
    thread_.join();
  }
  return cause_;
}

void AbortGuard::Run(int wakeup_fd, absl::Duration timeout) {
  const WaitDeadline deadline(timeout);
  std::array<pollfd, 2> fds{{{stop_.get(), POLLIN, 0}, {wakeup_fd, POLLIN, 0}}};
  int ready;
  do {
    ready = ::poll(fds.data(), fds.size(), deadline.MillisecondsLeft());
  } while (ready < 0 && errno == EINTR);
  if (fds[0].revents != 0) return;
  cause_ = ready == 0 ? Cause::kTimeout : Cause::kWakeup;
  ::shutdown(socket_.get(), SHUT_RDWR);
}

}  // namespace fanmirror::link
