#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <string>

#include "absl/status/statusor.h"
#include "os/unique_fd.h"

namespace fanmirror::daemon {

// The address of a unix socket at `path`. By way of the directory's descriptor, because an address itself
// holds 107 bytes only; valid as long as this lives.
struct ControlAddress {
  os::UniqueFd directory;
  sockaddr_un address{};

  static absl::StatusOr<ControlAddress> Of(const std::string& path);
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address); }
};

}  // namespace fanmirror::daemon
