#pragma once

#include <atomic>
#include <memory>
#include <thread>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "os/unique_fd.h"

namespace fanmirror::link {

// Bounds libssh's blocking calls, whose own time limits restart at each step and which know nothing of a wake-up: a
// thread shuts the socket down when `wakeup_fd` (-1: none) is readable or the time is over, and the call fails.
class AbortGuard {
 public:
  enum class Cause { kNone, kWakeup, kTimeout };

  static absl::StatusOr<std::unique_ptr<AbortGuard>> Start(int socket_fd, int wakeup_fd, absl::Duration timeout);
  AbortGuard(const AbortGuard&) = delete;
  AbortGuard& operator=(const AbortGuard&) = delete;
  ~AbortGuard() { Stop(); }

  // The socket is safe from now on; tells whether it was shut down, and why.
  Cause Stop();

 private:
  AbortGuard(os::UniqueFd socket, os::UniqueFd stop) : socket_(std::move(socket)), stop_(std::move(stop)) {}
  void Run(int wakeup_fd, absl::Duration timeout);

  os::UniqueFd socket_;  // a duplicate: libssh may close its own at any time
  os::UniqueFd stop_;
  std::atomic<Cause> cause_{Cause::kNone};
  std::thread thread_;
};

}  // namespace fanmirror::link
