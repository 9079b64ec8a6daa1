#include "daemon/control_client.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "daemon/control_address.h"
#include "model/failure.h"

namespace fanmirror::daemon {
namespace {

// A status of thousands of targets fits; more is no answer of ours.
constexpr std::size_t kMaxAnswerBytes = std::size_t{64} << 20;

absl::Status NoDaemon(const std::string& path, int error) {
  return model::Failure(
      model::Reaction::kHaltJob,
      absl::StrCat("no daemon answers on ", model::QuotePath(path), ": ", std::strerror(error),
                   "; start it, or name its control socket with --socket"));
}

}  // namespace

absl::StatusOr<ControlClient> ControlClient::Connect(const std::string& path) {
  os::UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  auto address = ControlAddress::Of(path);
  if (!address.ok()) {
    const int error = model::ErrnoOf(address.status());
    return error == 0 ? address.status() : NoDaemon(path, error);
  }
  if (!socket || ::connect(socket.get(), address->get(), sizeof address->address) != 0)
    return NoDaemon(path, errno);
  return ControlClient(std::move(socket));
}

absl::StatusOr<nlohmann::json> ControlClient::Ask(const Request& request) {
  const std::string line = FormatRequest(request) + "\n";
  for (std::size_t sent = 0; sent < line.size();) {
    const ssize_t taken = ::send(socket_.get(), line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
    if (taken < 0 && errno == EINTR) continue;
    if (taken < 0) break;  // the answer, if there is one, says why
    sent += static_cast<std::size_t>(taken);
  }
  return NextAnswer();
}

absl::StatusOr<nlohmann::json> ControlClient::NextAnswer() {
  std::size_t searched = 0;
  while (true) {
    if (const std::size_t end = received_.find('\n', searched); end != std::string::npos) {
      const std::string line = received_.substr(0, end);
      received_.erase(0, end + 1);
      return ParseAnswer(line);
    }
    searched = received_.size();
    std::array<char, 65536> buffer{};
    const ssize_t length = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
    if (length < 0 && errno == EINTR) continue;
    if (length <= 0 || received_.size() > kMaxAnswerBytes) {
      return model::Failure(model::Reaction::kReconnect,
                            "the daemon closed the connection without an answer; see its log");
    }
    received_.append(buffer.data(), static_cast<std::size_t>(length));
  }
}

}  // namespace fanmirror::daemon
