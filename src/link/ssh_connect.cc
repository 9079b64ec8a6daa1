#include <fcntl.h>

#include <cerrno>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "link/abort_guard.h"
#include "link/link.h"
#include "link/proxy.h"
#include "link/ssh_auth.h"
#include "link/ssh_host_key.h"
#include "link/ssh_link.h"
#include "link/ssh_session.h"
#include "link/tcp_connect.h"
#include "model/failure.h"

namespace fanmirror::link {
namespace {

using model::Failure;
using model::Reaction;

// What carries the SSH connection.
struct Transport {
  std::optional<Proxy> proxy;
  os::UniqueFd socket;  // closed before the end of the proxy is waited for
};

absl::StatusOr<Transport> OpenTransport(const SshOptions& options, const Destination& destination, int wakeup_fd) {
  if (destination.proxy_command.empty()) {
    auto socket = ConnectTcp(destination.host, destination.port, options.connect_timeout,
                             options.peer_lost_after, wakeup_fd);
    if (!socket.ok()) return socket.status();
    return Transport{std::nullopt, *std::move(socket)};
  }
  auto started = StartProxy(options, destination);
  if (!started.ok()) return started.status();
  return Transport{std::move(started->proxy), std::move(started->socket)};
}

// Makes of a libssh failure what it was: the time limit, a wake-up, a proxy that said why, or what libssh says.
absl::Status Explain(absl::Status status, AbortGuard::Cause cause, const SshOptions& options,
                     const Destination& destination, const std::optional<Proxy>& proxy) {
  if (status.ok()) return status;
  if (cause == AbortGuard::Cause::kWakeup) return Aborted(destination.ToString());
  if (cause == AbortGuard::Cause::kTimeout) {
    status = Failure(Reaction::kReconnect,
                     absl::StrCat("ssh: ", destination.ToString(), " did not answer within ",
                                  absl::FormatDuration(options.connect_timeout),
                                  "; check the load of that host, and that it is sshd what listens there"));
  }
  if (!proxy) return status;
  StderrLines lines(nullptr);
  lines.AddFrom(proxy->errors.get());
  lines.Finish();
  if (lines.last_line().empty()) return status;
  return Failure(Reaction::kReconnect,
                 absl::StrCat(std::string(status.message()), "; its proxy command says: ", lines.last_line()));
}

// Runs `step`, which blocks in libssh, within the time limit and the wake-up.
template <typename Step>
absl::Status Guarded(int socket, int wakeup_fd, absl::Duration timeout, AbortGuard::Cause* cause, const Step& step) {
  auto guard = AbortGuard::Start(socket, wakeup_fd, timeout);
  if (!guard.ok()) return guard.status();
  absl::Status status = step();
  *cause = (*guard)->Stop();
  return status;
}

// libssh gets a descriptor of its own, because it closes it at a moment of its own choosing.
int ConnectThrough(ssh_session session, int socket) {
  os::UniqueFd copy(::fcntl(socket, F_DUPFD_CLOEXEC, 0));
  socket_t fd = copy.get();
  if (!copy || ssh_options_set(session, SSH_OPTIONS_FD, &fd) != SSH_OK) return SSH_ERROR;
  // It is the session's from the first sign of progress on, and ours if there was none.
  ssh_callbacks_struct callbacks{};
  callbacks.userdata = &copy;
  callbacks.connect_status_function = [](void* ours, float) { static_cast<os::UniqueFd*>(ours)->release(); };
  const ScopedCallbacks scoped(session, callbacks);
  return ssh_connect(session);
}

absl::Status Handshake(ssh_session session, const Destination& destination, int socket) {
  if (ConnectThrough(session, socket) != SSH_OK) {
    return Failure(Reaction::kReconnect, absl::StrCat("ssh: no SSH connection to ", destination.ToString(), ": ",
                                                      ErrorText(session), "; the log of its sshd may say why"));
  }
  return CheckHostKey(session, destination);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Link>> ConnectSsh(const SshOptions& options, StderrSink stderr_sink, int wakeup_fd) {
  auto prepared = PrepareSession(options);
  if (!prepared.ok()) return prepared.status();
  const Destination destination = prepared->destination;
  auto transport = OpenTransport(options, destination, wakeup_fd);
  if (!transport.ok()) return transport.status();
  const int socket = transport->socket.get();
  ssh_session session = prepared->session.get();

  AbortGuard::Cause cause = AbortGuard::Cause::kNone;
  absl::Status status = Guarded(socket, wakeup_fd, options.connect_timeout, &cause,
                                [&] { return Handshake(session, destination, socket); });
  if (status.ok()) {
    status = Guarded(socket, wakeup_fd, options.connect_timeout, &cause,
                     [&] { return Authenticate(session, options, destination, socket); });
  }
  if (!status.ok()) {
    status = Explain(std::move(status), cause, options, destination, transport->proxy);
    if (transport->proxy) transport->proxy->child->Terminate();
    prepared->session.reset();
    return status;
  }
  auto link = std::make_unique<SshLink>(destination.ToString(), std::move(prepared->session),
                                        std::move(transport->socket), std::move(transport->proxy),
                                        std::move(stderr_sink));
  status = Guarded(socket, wakeup_fd, options.connect_timeout, &cause, [&] { return link->Start(options.command); });
  if (!status.ok()) return Explain(std::move(status), cause, options, destination, std::nullopt);
  return link;
}

}  // namespace fanmirror::link
