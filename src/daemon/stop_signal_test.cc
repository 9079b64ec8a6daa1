#include "daemon/stop_signal.h"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "gtest/gtest.h"

namespace fanmirror::daemon {
namespace {

constexpr int kOrderly = 42;

// In a process of its own, since a StopSignal changes the signals of the whole process. Says on `ready` that
// it waits, and then that it stops.
void WaitForSignal(int ready, bool stop_takes_forever) {
  StopSignal stop;
  char said = 'w';
  if (::write(ready, &said, 1) != 1) ::_exit(99);
  pollfd wait{stop.fd(), POLLIN, 0};
  while (::poll(&wait, 1, -1) <= 0) {
  }
  said = 's';
  if (::write(ready, &said, 1) != 1) ::_exit(99);
  while (stop_takes_forever) ::pause();
  ::_exit(stop.received() && stop.number() == SIGTERM ? kOrderly : 98);
}

class Child {
 public:
  explicit Child(bool stop_takes_forever) {
    if (::pipe(pipe_) != 0) return;
    pid_ = ::fork();
    if (pid_ == 0) WaitForSignal(pipe_[1], stop_takes_forever);
  }
  ~Child() {
    ::close(pipe_[0]);
    ::close(pipe_[1]);
  }
  char NextSaid() {
    char said = 0;
    return ::read(pipe_[0], &said, 1) == 1 ? said : '?';
  }
  // Never to -1, which is everybody.
  void Signal(int number) {
    ASSERT_GT(pid_, 0);
    ASSERT_EQ(::kill(pid_, number), 0);
  }
  int ExitCode() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

 private:
  int pipe_[2] = {-1, -1};
  pid_t pid_ = -1;
};

TEST(StopSignal, TheFirstAsksForAnOrderlyStop) {
  Child child(/*stop_takes_forever=*/false);
  ASSERT_EQ(child.NextSaid(), 'w');
  child.Signal(SIGPIPE);  // is ignored
  child.Signal(SIGTERM);
  EXPECT_EQ(child.NextSaid(), 's');
  EXPECT_EQ(child.ExitCode(), kOrderly);
}

TEST(StopSignal, TheSecondEndsTheProcessAtOnce) {
  Child child(/*stop_takes_forever=*/true);
  ASSERT_EQ(child.NextSaid(), 'w');
  child.Signal(SIGINT);
  ASSERT_EQ(child.NextSaid(), 's');
  child.Signal(SIGINT);
  EXPECT_EQ(child.ExitCode(), 1);
}

}  // namespace
}  // namespace fanmirror::daemon
