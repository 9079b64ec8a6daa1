#include "daemon/stop_signal.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <csignal>

namespace fanmirror::daemon {

StopSignal::StopSignal() {
  std::signal(SIGPIPE, SIG_IGN);
  sigset_t signals;
  ::sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&signals, number);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signals_.reset(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  thread_ = std::thread([this] { Read(); });
}

StopSignal::~StopSignal() {
  end_.Set();
  thread_.join();
}

void StopSignal::Read() {
  std::array<pollfd, 2> fds{{{signals_.get(), POLLIN, 0}, {end_.get(), POLLIN, 0}}};
  while (true) {
    if (::poll(fds.data(), fds.size(), -1) < 0) continue;
    if (fds[1].revents != 0) return;
    signalfd_siginfo info{};
    if (::read(signals_.get(), &info, sizeof info) != sizeof info) continue;
    // State on disk is safe at every instant, so that there is nothing left to save for a person in a hurry.
    if (received()) ::_exit(1);
    number_ = static_cast<int>(info.ssi_signo);
    received_.Set();
  }
}

}  // namespace fanmirror::daemon
