#include "apply/output.h"

#include <unistd.h>

#include <cerrno>

#include "model/failure.h"

namespace fanmirror::apply {

absl::Status DescriptorOutput::Write(std::string_view bytes) {
  const std::lock_guard lock(mutex_);
  while (!bytes.empty()) {
    const ssize_t written = write(fd_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0)
      return model::SystemFailure(model::Reaction::kReconnect, "write", "the connection", errno);
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return absl::OkStatus();
}

}  // namespace fanmirror::apply
