#include "link/ssh_link.h"

#include <fcntl.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "link/wait.h"
#include "model/failure.h"

namespace fanmirror::link {
namespace {

using model::Failure;
using model::Reaction;

// The payload of a full SSH packet of OpenSSH's; eight of them at once are libssh's fastest write.
constexpr std::size_t kPacketPayloadBytes = 32758;
constexpr std::size_t kWriteBytes = 8 * kPacketPayloadBytes;
// libssh takes 4 KiB from the socket at a time, a packet may have 32 KiB: so many steps until one is complete.
constexpr int kMaxStepsToOnePacket = 9;

bool Readable(int fd) {
  pollfd ready{fd, POLLIN, 0};
  return ::poll(&ready, 1, 0) > 0;
}

}  // namespace

SshLink::SshLink(std::string host, Session session, os::UniqueFd socket, std::optional<Proxy> proxy, StderrSink sink)
    : host_(std::move(host)), proxy_(std::move(proxy)), socket_(std::move(socket)), lines_(sink),
      proxy_lines_(std::move(sink)), session_(std::move(session)) {}

absl::Status SshLink::Start(const std::string& command) {
  channel_ = ssh_channel_new(session_.get());
  if (channel_ == nullptr || ssh_channel_open_session(channel_) != SSH_OK) {
    return Failure(Reaction::kReconnect, absl::StrCat("ssh: ", host_, " opens no session: ", ErrorText(session_.get()),
                                                      "; see MaxSessions and the log of its sshd"));
  }
  SetCallbacks();
  if (ssh_channel_request_exec(channel_, command.c_str()) != SSH_OK) {
    return Failure(Reaction::kReconnect, absl::StrCat("ssh: ", host_, " refuses to start a command: ",
                                                      ErrorText(session_.get()), "; see the log of its sshd"));
  }
  // libssh has made the socket blocking while it connected.
  ssh_set_blocking(session_.get(), 0);
  if (::fcntl(socket_.get(), F_SETFL, O_NONBLOCK) != 0) {
    return model::SystemFailure(Reaction::kReconnect, "fcntl", host_, errno);
  }
  return absl::OkStatus();
}

void SshLink::SetCallbacks() {
  callbacks_.userdata = this;
  callbacks_.channel_exit_status_function = [](ssh_session, ssh_channel, int status, void* self) {
    static_cast<SshLink*>(self)->ending_.SetExitStatus(status);
  };
  callbacks_.channel_exit_signal_function = [](ssh_session, ssh_channel, const char* signal, int, const char*,
                                               const char*, void* self) {
    static_cast<SshLink*>(self)->ending_.SetSignal(signal);
  };
  // Stderr never waits in libssh, where poll(2) would not tell of it. Stdout stays there until it is read.
  callbacks_.channel_data_function = [](ssh_session, ssh_channel, void* data, std::uint32_t size, int is_stderr,
                                        void* self) -> int {
    if (is_stderr == 0) return 0;
    static_cast<SshLink*>(self)->lines_.Add({static_cast<const char*>(data), size});
    return static_cast<int>(size);
  };
  ssh_callbacks_init(&callbacks_);
  ssh_set_channel_callbacks(channel_, &callbacks_);
}

absl::StatusOr<std::size_t> SshLink::Write(absl::Span<const char> data) {
  std::size_t taken = 0;
  while (taken < data.size()) {
    if (!CanWrite()) {
      if (absl::Status status = Pump(); !status.ok()) return status;
      if (ending_.begun()) return Ended();
      if (!CanWrite()) break;
    }
    const std::size_t size =
        std::min({data.size() - taken, kWriteBytes, std::size_t{ssh_channel_window_size(channel_)}});
    const int result = ssh_channel_write(channel_, data.data() + taken, static_cast<std::uint32_t>(size));
    if (result == SSH_ERROR) {
      // The command may have ended rather than the connection.
      if (absl::Status status = Pump(); !status.ok()) return status;
      return Ended();
    }
    taken += static_cast<std::size_t>(result);
  }
  return taken;
}

absl::StatusOr<std::size_t> SshLink::Read(absl::Span<char> buffer) {
  for (int step = 0; step < kMaxStepsToOnePacket; ++step) {
    const int result =
        ssh_channel_read_nonblocking(channel_, buffer.data(), static_cast<std::uint32_t>(buffer.size()), 0);
    if (result > 0) return static_cast<std::size_t>(result);
    if (result == SSH_ERROR) break;
    if (absl::Status status = Pump(); !status.ok()) return status;
    if (ending_.begun()) return Ended();
    if (!Readable(socket_.get())) return 0;
  }
  if (absl::Status status = Pump(); !status.ok()) return status;
  return 0;
}

bool SshLink::WritePending() const { return (ssh_get_status(session_.get()) & SSH_WRITE_PENDING) != 0; }

bool SshLink::CanWrite() const { return !WritePending() && ssh_channel_window_size(channel_) > 0; }

absl::Status SshLink::Pump() {
  // Asking for stderr, because asking for stdout does nothing while there is unread data, and the window would stay shut.
  if (ssh_channel_poll_timeout(channel_, 0, 1) == SSH_ERROR) return Lost();
  NoteEnd();
  return absl::OkStatus();
}

void SshLink::NoteEnd() {
  if (ssh_channel_is_eof(channel_) == 0 && ssh_channel_is_closed(channel_) == 0) return;
  ending_.Begin();
  // After the end of the output only this takes in more packets.
  if (!ending_.known()) ssh_channel_get_exit_status(channel_);
  if (ssh_channel_is_closed(channel_) != 0) ending_.Close();
}

void SshLink::ReadProxyErrors() {
  if (!proxy_ || !proxy_->errors || proxy_lines_.AddFrom(proxy_->errors.get())) return;
  proxy_lines_.Finish();
  proxy_->errors.reset();
}

absl::StatusOr<std::size_t> SshLink::Ended() {
  ending_.Begin();
  if (!ending_.complete()) return 0;
  lines_.Finish();
  return ending_.ToStatus(absl::StrCat("the receiver on ", host_), lines_.last_line());
}

absl::Status SshLink::Lost() {
  // A receiver that told its reason and its end before the connection went is the better message.
  if (ending_.known()) {
    ending_.Begin();
    return Ended().status();
  }
  ReadProxyErrors();
  lines_.Finish();
  proxy_lines_.Finish();
  std::string message = absl::StrCat("ssh: the connection to ", host_, " was lost: ", ErrorText(session_.get()));
  for (const StderrLines* lines : {&proxy_lines_, &lines_}) {
    if (!lines->last_line().empty()) absl::StrAppend(&message, ": ", lines->last_line());
  }
  return Failure(Reaction::kReconnect, message);
}

absl::StatusOr<Link::Ready> SshLink::Wait(bool want_write, int wakeup_fd, absl::Duration timeout) {
  const WaitDeadline deadline(timeout);
  for (;;) {
    const int available = ssh_channel_poll_timeout(channel_, 0, 0);
    if (available == SSH_ERROR) return Lost();
    NoteEnd();
    const bool readable = available > 0;
    int milliseconds = deadline.MillisecondsLeft();
    if (ending_.begun()) milliseconds = SoonerOf(milliseconds, ending_.MillisecondsLeft());
    if (readable || ending_.complete() || (want_write && CanWrite())) milliseconds = 0;
    const bool pending = WritePending();
    std::array<pollfd, 3> fds{{{wakeup_fd, POLLIN, 0},
                               {socket_.get(), static_cast<short>(pending ? POLLIN | POLLOUT : POLLIN), 0},
                               {proxy_ ? proxy_->errors.get() : -1, POLLIN, 0}}};
    const int ready = ::poll(fds.data(), fds.size(), milliseconds);
    if (ready < 0 && errno != EINTR) return model::SystemFailure(Reaction::kReconnect, "poll", host_, errno);
    if (ready < 0) continue;
    if (fds[2].revents != 0) ReadProxyErrors();
    if (fds[0].revents != 0) return Ready{.wakeup = true};
    if (ready == 0 || (fds[1].revents & ~POLLOUT) != 0) return Ready{};
  }
}

}  // namespace fanmirror::link
