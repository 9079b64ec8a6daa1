#include "link/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "model/failure.h"

namespace fanmirror::link {
namespace {

using model::Reaction;

int SetUpDescriptors(posix_spawn_file_actions_t* actions, int stdin_fd, int stdout_fd, int stderr_fd) {
  const std::pair<int, int> pairs[] = {{stdin_fd, 0}, {stdout_fd, 1}, {stderr_fd, 2}};
  for (const auto& [from, to] : pairs) {
    if (const int error = ::posix_spawn_file_actions_adddup2(actions, from, to)) return error;
  }
  return ::posix_spawn_file_actions_addclosefrom_np(actions, 3);
}

int SetUpAttributes(posix_spawnattr_t* attributes) {
  sigset_t all;
  sigset_t none;
  ::sigfillset(&all);
  ::sigemptyset(&none);
  if (const int error = ::posix_spawnattr_setsigdefault(attributes, &all)) return error;
  if (const int error = ::posix_spawnattr_setsigmask(attributes, &none)) return error;
  return ::posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Child>> Child::Start(const std::vector<std::string>& argv, int stdin_fd, int stdout_fd,
                                                    int stderr_fd) {
  if (argv.empty()) return model::Failure(Reaction::kReconnect, "no command to start");
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawnattr_init(&attributes);
  const absl::Cleanup destroy = [&] {
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
  };
  int error = SetUpDescriptors(&actions, stdin_fd, stdout_fd, stderr_fd);
  if (error == 0) error = SetUpAttributes(&attributes);
  std::vector<char*> arguments;
  arguments.reserve(argv.size() + 1);
  for (const std::string& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  pid_t pid = -1;
  if (error == 0) error = ::posix_spawnp(&pid, arguments[0], &actions, &attributes, arguments.data(), environ);
  if (error != 0) return model::SystemFailure(Reaction::kReconnect, "start", argv[0], error);
  // glibc 2.36 declares pidfd_open() for C only. The descriptor is CLOEXEC by itself.
  os::UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  const int pidfd_errno = errno;
  std::unique_ptr<Child> child(new Child(pid, std::move(pidfd)));
  if (!child->pidfd_) {
    child->Terminate();
    return model::SystemFailure(Reaction::kReconnect, "pidfd_open", argv[0], pidfd_errno);
  }
  return child;
}

Child::~Child() {
  if (!EndsWithin(kChildGrace)) Terminate();
  if (!EndsWithin(kChildGrace)) ::kill(-pid_, SIGKILL);
  while (!reaped_ && ::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void Child::CheckEnd(Ending* ending) {
  if (reaped_) return;
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) != pid_) return;
  reaped_ = true;
  if (WIFEXITED(status)) ending->SetExitStatus(WEXITSTATUS(status));
  if (WIFSIGNALED(status)) {
    const char* name = ::sigabbrev_np(WTERMSIG(status));
    ending->SetSignal(name != nullptr ? std::string(name) : absl::StrCat(WTERMSIG(status)));
  }
}

void Child::Terminate() {
  // Only while it is not reaped is the number of the process group surely its own.
  if (!reaped_) ::kill(-pid_, SIGTERM);
}

bool Child::EndsWithin(std::chrono::milliseconds time) {
  if (reaped_) return true;
  pollfd ended{.fd = pidfd_.get(), .events = POLLIN, .revents = 0};
  const auto deadline = Ending::Clock::now() + time;
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Ending::Clock::now()).count();
    const int ready = ::poll(&ended, 1, left > 0 ? static_cast<int>(left) : 0);
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

}  // namespace fanmirror::link
