#include "link/tcp_connect.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "link/wait.h"
#include "model/failure.h"

namespace fanmirror::link {
namespace {

using model::Failure;
using model::Reaction;

// An idle connection is probed after a third of the time in which a lost peer is to be noticed, then as often as this
// fits into the rest.
constexpr int kKeepAliveProbes = 2;

struct FreeAddresses {
  void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};
using Addresses = std::unique_ptr<addrinfo, FreeAddresses>;

absl::StatusOr<Addresses> Resolve(const std::string& host, unsigned port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* list = nullptr;
  const int error = ::getaddrinfo(host.c_str(), absl::StrCat(port).c_str(), &hints, &list);
  if (error != 0) {
    const std::string why = error == EAI_SYSTEM ? ::strerror(errno) : ::gai_strerror(error);
    return Failure(Reaction::kReconnect, absl::StrCat("host name ", model::QuotePath(host), ": ", why,
                                                      "; check `host` and the name service"));
  }
  return Addresses(list);
}

bool SetInt(int fd, int level, int option, int value) {
  return ::setsockopt(fd, level, option, &value, sizeof value) == 0;
}

bool SetOptions(int fd, absl::Duration peer_lost_after) {
  const int third = static_cast<int>(std::max<std::int64_t>(1, absl::ToInt64Seconds(peer_lost_after / 3)));
  return SetInt(fd, IPPROTO_TCP, TCP_NODELAY, 1) && SetInt(fd, SOL_SOCKET, SO_KEEPALIVE, 1) &&
         SetInt(fd, IPPROTO_TCP, TCP_KEEPIDLE, third) &&
         SetInt(fd, IPPROTO_TCP, TCP_KEEPINTVL, third) &&
         SetInt(fd, IPPROTO_TCP, TCP_KEEPCNT, kKeepAliveProbes) &&
         SetInt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(absl::ToInt64Milliseconds(peer_lost_after)));
}

// 0 when connected, else the errno; ECANCELED when woken up.
int WaitForConnection(int fd, absl::Duration timeout, int wakeup_fd) {
  const WaitDeadline deadline(timeout);
  for (;;) {
    std::array<pollfd, 2> fds{{{fd, POLLOUT, 0}, {wakeup_fd, POLLIN, 0}}};
    const int ready = ::poll(fds.data(), fds.size(), deadline.MillisecondsLeft());
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return errno;
    if (ready == 0) return ETIMEDOUT;
    if (fds[1].revents != 0) return ECANCELED;
    int error = 0;
    socklen_t size = sizeof error;
    return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
  }
}

// 0 and `*connected`, or an errno.
int ConnectTo(const addrinfo& address, absl::Duration timeout, absl::Duration peer_lost_after, int wakeup_fd,
              os::UniqueFd* connected) {
  os::UniqueFd fd(::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd || !SetOptions(fd.get(), peer_lost_after)) return errno;
  if (::connect(fd.get(), address.ai_addr, address.ai_addrlen) != 0) {
    if (errno != EINPROGRESS) return errno;
    if (const int error = WaitForConnection(fd.get(), timeout, wakeup_fd)) return error;
  }
  if (::fcntl(fd.get(), F_SETFL, 0) != 0) return errno;
  *connected = std::move(fd);
  return 0;
}

std::string AddressText(const addrinfo& address) {
  std::array<char, NI_MAXHOST> text{};
  ::getnameinfo(address.ai_addr, address.ai_addrlen, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST);
  return text.data();
}

}  // namespace

absl::Status Aborted(const std::string& where) {
  return Failure(Reaction::kReconnect, absl::StrCat("connecting to ", where, " was given up: asked to stop"));
}

absl::StatusOr<os::UniqueFd> ConnectTcp(const std::string& host, unsigned port, absl::Duration timeout,
                                        absl::Duration peer_lost_after, int wakeup_fd) {
  auto addresses = Resolve(host, port);
  if (!addresses.ok()) return addresses.status();
  int count = 0;
  for (const addrinfo* a = addresses->get(); a != nullptr; a = a->ai_next) ++count;
  std::string tried;
  for (const addrinfo* a = addresses->get(); a != nullptr; a = a->ai_next) {
    os::UniqueFd fd;
    const int error = ConnectTo(*a, timeout / count, peer_lost_after, wakeup_fd, &fd);
    if (error == 0) return fd;
    if (error == ECANCELED) return Aborted(host);
    absl::StrAppend(&tried, tried.empty() ? "" : ", ", AddressText(*a), ": ", ::strerror(error));
  }
  return Failure(Reaction::kReconnect,
                 absl::StrCat("connect to ", model::QuotePath(host), " port ", port, ": ", tried,
                              "; check that the host is up, sshd listens there and no firewall is between"));
}

}  // namespace fanmirror::link
