#include "apply/output.h"

#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "model/failure.h"

namespace fanmirror::apply {

// A descriptor that is ready takes PIPE_BUF bytes without blocking.
absl::Status DescriptorOutput::Write(std::string_view bytes) {
  const std::lock_guard lock(mutex_);
  while (!bytes.empty()) {
    if (absl::Status status = AwaitRoom(); !status.ok()) return status;
    const ssize_t written = write(fd_, bytes.data(), std::min<std::size_t>(bytes.size(), PIPE_BUF));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0)
      return model::SystemFailure(model::Reaction::kReconnect, "write", "the connection", errno);
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status DescriptorOutput::AwaitRoom() const {
  pollfd room{fd_, POLLOUT, 0};
  const int ready = poll(&room, 1, silence_ms_);
  if (ready > 0 || (ready < 0 && errno == EINTR)) return absl::OkStatus();
  if (ready < 0) return model::SystemFailure(model::Reaction::kReconnect, "poll", "the connection", errno);
  return model::Failure(model::Reaction::kReconnect, "the source takes nothing of what is told; it is taken for lost");
}

}  // namespace fanmirror::apply
