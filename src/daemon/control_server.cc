#include "daemon/control_server.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "daemon/control_address.h"
#include "daemon/private_directory.h"
#include "model/failure.h"

namespace fanmirror::daemon {
namespace {

constexpr int kBacklog = 16;
// A client that does not take its answer for this long is dropped.
constexpr timeval kSendTimeout{5, 0};
// Between two looks at whether an answer is still to be given to a client that takes its time.
constexpr absl::Duration kPatienceStep = absl::Milliseconds(200);
// After a failed accept: out of descriptors does not get better by asking at once again.
constexpr absl::Duration kAcceptPause = absl::Milliseconds(50);

bool SendLine(int socket, std::string line) {
  line += '\n';
  for (std::size_t sent = 0; sent < line.size();) {
    const ssize_t taken = ::send(socket, line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
    if (taken < 0 && errno == EINTR) continue;
    if (taken <= 0) return false;
    sent += static_cast<std::size_t>(taken);
  }
  return true;
}

// A socket at this path that nobody answers on is a leftover of a process that was killed.
absl::Status RemoveStale(const std::string& path, const ControlAddress& address) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) return absl::OkStatus();
  if (!S_ISSOCK(status.st_mode)) {
    return model::Failure(model::Reaction::kHaltJob,
                          absl::StrCat("control socket ", model::QuotePath(path),
                                       ": something else is there; remove it, or choose "
                                       "another control_socket"));
  }
  const os::UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (::connect(probe.get(), address.get(), sizeof address.address) == 0 || errno != ECONNREFUSED) {
    return model::Failure(
        model::Reaction::kHaltJob,
        absl::StrCat("control socket ", model::QuotePath(path),
                     ": another daemon answers there; stop it, or choose another control_socket"));
  }
  if (::unlink(path.c_str()) != 0)
    return model::SystemFailure(model::Reaction::kHaltJob, "unlink", path, errno);
  return absl::OkStatus();
}

absl::StatusOr<os::UniqueFd> Listen(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash != std::string::npos && slash > 0) {
    if (absl::Status made = MakePrivateDirectory(path.substr(0, slash)); !made.ok()) return made;
  }
  auto address = ControlAddress::Of(path);
  if (!address.ok()) return address.status();
  if (absl::Status removed = RemoveStale(path, *address); !removed.ok()) return removed;
  os::UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  // The mode of an unbound socket becomes that of its file: no instant at which others could connect.
  if (!fd || ::fchmod(fd.get(), 0600) != 0 ||
      ::bind(fd.get(), address->get(), sizeof address->address) != 0 || ::listen(fd.get(), kBacklog) != 0) {
    return model::SystemFailure(model::Reaction::kHaltJob, "bind", path, errno,
                                "choose another control_socket");
  }
  return fd;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ControlServer>> ControlServer::Start(const std::string& path,
                                                                    ControlHandlers handlers) {
  auto socket = Listen(path);
  if (!socket.ok()) return socket.status();
  return std::unique_ptr<ControlServer>(new ControlServer(path, *std::move(socket), std::move(handlers)));
}

ControlServer::ControlServer(std::string path, os::UniqueFd socket, ControlHandlers handlers)
    : path_(std::move(path)), socket_(std::move(socket)), handlers_(std::move(handlers)) {
  thread_ = std::thread([this] { Accept(); });
}

ControlServer::~ControlServer() {
  ::unlink(path_.c_str());
  ending_ = true;
  end_.Set();
  thread_.join();
}

void ControlServer::Accept() {
  while (!ending_) {
    std::array<pollfd, 2> fds{{{socket_.get(), POLLIN, 0}, {end_.get(), POLLIN, 0}}};
    if (::poll(fds.data(), fds.size(), -1) < 0 || ending_) continue;
    os::UniqueFd socket(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!socket) {
      absl::SleepFor(kAcceptPause);
      continue;
    }
    ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &kSendTimeout, sizeof kSendTimeout);
    ForgetDone();
    if (clients_.size() >= kMaxClients) {
      SendLine(socket.get(),
               FormatAnswer(model::Failure(model::Reaction::kRetry,
                                           "too many clients of the control socket; try again")));
      continue;
    }
    Client& client = clients_.emplace_back();
    client.socket = std::move(socket);
    client.thread = std::thread([this, &client] {
      Serve(client.socket.get());
      ::shutdown(client.socket.get(), SHUT_RDWR);  // the descriptor itself lives until ForgetDone
      client.done = true;
    });
  }
  for (Client& client : clients_) client.thread.join();
}

void ControlServer::ForgetDone() {
  clients_.remove_if([](Client& client) {
    if (!client.done) return false;
    client.thread.join();
    return true;
  });
}

void ControlServer::Serve(int socket) {
  std::string received;
  while (!ending_) {
    std::array<pollfd, 2> fds{{{socket, POLLIN, 0}, {end_.get(), POLLIN, 0}}};
    if (::poll(fds.data(), fds.size(), static_cast<int>(absl::ToInt64Milliseconds(kIdle))) <= 0 || ending_)
      return;
    std::array<char, 4096> buffer{};
    const ssize_t length = ::recv(socket, buffer.data(), buffer.size(), 0);
    if (length < 0 && errno == EINTR) continue;
    if (length <= 0) return;
    received.append(buffer.data(), static_cast<std::size_t>(length));
    for (std::size_t end = received.find('\n'); end != std::string::npos; end = received.find('\n')) {
      if (!AnswerLine(socket, std::string_view(received).substr(0, end))) return;
      received.erase(0, end + 1);
    }
    if (received.size() > kMaxRequestBytes) {
      SendLine(socket, FormatAnswer(model::Failure(
                           model::Reaction::kSkipAndReport,
                           absl::StrCat("a request is at most ", kMaxRequestBytes, " bytes"))));
      return;
    }
  }
}

bool ControlServer::AnswerLine(int socket, std::string_view line) {
  const absl::StatusOr<Request> request = ParseRequest(line);
  if (!request.ok()) return SendLine(socket, FormatAnswer(request.status()));
  if (request->command == Request::Command::kWait) {
    return SendLine(socket,
                    FormatAnswer(handlers_.wait(request->barrier, [&] { return Abandoned(socket); })));
  }
  if (request->command == Request::Command::kApprove) {
    return SendLine(socket, FormatAnswer(handlers_.approve(request->choice)));
  }
  if (request->command == Request::Command::kAdopt) {
    return SendLine(socket, FormatAnswer(handlers_.adopt(request->choice)));
  }
  if (request->command == Request::Command::kVerify) return Verify(socket, request->verify);
  if (request->follow) return Follow(socket);
  return SendLine(socket, FormatStatusAnswer(handlers_.status()));
}

bool ControlServer::Follow(int socket) {
  while (SendLine(socket, FormatStatusAnswer(handlers_.status()))) {
    // Nothing but the client's end is awaited; what it sends meanwhile stays unread.
    std::array<pollfd, 2> fds{{{socket, 0, 0}, {end_.get(), POLLIN, 0}}};
    if (::poll(fds.data(), fds.size(), static_cast<int>(absl::ToInt64Milliseconds(kFollowInterval))) != 0)
      return false;
  }
  return false;
}

bool ControlServer::Verify(int socket, const VerifyRequest& request) {
  const absl::Status status =
      handlers_.verify(request, [&] { return Abandoned(socket); },
                       [&](nlohmann::json part, const std::function<bool()>& given_up) {
                         return SendPatiently(socket, FormatPartialAnswer(std::move(part)), given_up);
                       });
  return SendLine(socket, FormatAnswer(status));
}

bool ControlServer::SendPatiently(int socket, std::string line, const std::function<bool()>& given_up) {
  line += '\n';
  for (std::size_t sent = 0; sent < line.size();) {
    const ssize_t taken = ::send(socket, line.data() + sent, line.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (taken > 0) sent += static_cast<std::size_t>(taken);
    if (taken > 0 || (taken < 0 && errno == EINTR)) continue;
    if (taken == 0 || errno != EAGAIN) return false;
    std::array<pollfd, 2> fds{{{socket, POLLOUT, 0}, {end_.get(), POLLIN, 0}}};
    ::poll(fds.data(), fds.size(), static_cast<int>(absl::ToInt64Milliseconds(kPatienceStep)));
    if (ending_ || given_up()) return false;
  }
  return true;
}

bool ControlServer::Abandoned(int socket) const {
  if (ending_) return true;
  // POLLHUP: both directions are closed. A client that only ended its requests still wants its answer.
  pollfd client{socket, 0, 0};
  return ::poll(&client, 1, 0) > 0 && (client.revents & (POLLHUP | POLLERR)) != 0;
}

}  // namespace fanmirror::daemon
