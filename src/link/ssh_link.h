#pragma once

#include <libssh/callbacks.h>
#include <libssh/libssh.h>

#include <memory>
#include <optional>
#include <string>

#include "link/ending.h"
#include "link/link.h"
#include "link/proxy.h"
#include "link/ssh_session.h"
#include "link/stderr_lines.h"
#include "os/unique_fd.h"

namespace fanmirror::link {

// A command on the far side through an authenticated session.
class SshLink : public Link {
 public:
  // `socket` is a duplicate of the session's own descriptor, for waiting.
  SshLink(std::string host, Session session, os::UniqueFd socket, std::optional<Proxy> proxy, StderrSink sink);

  // Starts the command and makes the session non-blocking. Blocks until the far side has agreed. Once.
  absl::Status Start(const std::string& command);

  absl::StatusOr<std::size_t> Write(absl::Span<const char> data) override;
  absl::StatusOr<std::size_t> Read(absl::Span<char> buffer) override;
  bool WritePending() const override;
  absl::StatusOr<Ready> Wait(bool want_write, int wakeup_fd, absl::Duration timeout) override;

 private:
  // Takes in what has arrived and sends what is pending, without waiting. An error when the connection is lost.
  absl::Status Pump();
  // Whether the command's output is at its end, with nothing left to read.
  void NoteEnd();
  void SetCallbacks();
  void ReadProxyErrors();
  // The command's output is at its end: 0 until its exit status is known, then the error that tells it.
  absl::StatusOr<std::size_t> Ended();
  bool CanWrite() const;
  absl::Status Lost();

  std::string host_;
  std::optional<Proxy> proxy_;
  os::UniqueFd socket_;
  StderrLines lines_;
  StderrLines proxy_lines_;
  Ending ending_;
  ssh_channel_callbacks_struct callbacks_{};
  // Destroyed before what its callbacks use and before the proxy that it talks through; owns the channel.
  Session session_;
  ssh_channel channel_ = nullptr;
};

}  // namespace fanmirror::link
