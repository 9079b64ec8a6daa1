#pragma once

#include <sys/types.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "link/ending.h"
#include "os/unique_fd.h"

namespace fanmirror::link {

// A child which was asked to end gets this long, and once more after SIGTERM, before it is killed.
inline constexpr std::chrono::milliseconds kChildGrace{2000};

// A child process in a session of its own: no signal of the terminal reaches it, and it cannot ask there.
class Child {
 public:
  // The three descriptors become its stdin, stdout and stderr; it has no others. Searches argv[0] in PATH. Signals are
  // as by default. An error names the command and why it does not start. Blocks until it has started.
  static absl::StatusOr<std::unique_ptr<Child>> Start(const std::vector<std::string>& argv, int stdin_fd, int stdout_fd,
                                                      int stderr_fd);
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  // Waits kChildGrace for its end, then SIGTERM and SIGKILL to its process group; reaps it.
  ~Child();

  pid_t pid() const { return pid_; }
  // Readable once it has ended.
  int pidfd() const { return pidfd_.get(); }
  // Reaps it if it has ended, and tells `ending` how. Never blocks.
  void CheckEnd(Ending* ending);
  // Does not wait for an end that nothing asked for.
  void Terminate();

 private:
  Child(pid_t pid, os::UniqueFd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}
  bool EndsWithin(std::chrono::milliseconds time);

  pid_t pid_;
  os::UniqueFd pidfd_;
  bool reaped_ = false;
};

}  // namespace fanmirror::link
