#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "daemon/control_protocol.h"
#include "os/unique_fd.h"

namespace fanmirror::daemon {

// The side of the commands. One thread; blocks.
class ControlClient {
 public:
  static absl::StatusOr<ControlClient> Connect(const std::string& path);

  // Sends the request and blocks for its answer; an answer that says no is an error with the daemon's words.
  absl::StatusOr<nlohmann::json> Ask(const Request& request);
  // The next answer to a request that is answered again and again.
  absl::StatusOr<nlohmann::json> NextAnswer();

 private:
  explicit ControlClient(os::UniqueFd socket) : socket_(std::move(socket)) {}
  os::UniqueFd socket_;
  std::string received_;
};

}  // namespace fanmirror::daemon
