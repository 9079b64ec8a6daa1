#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"

namespace fanmirror::link {

// Bytes to and from a receiver. Used by one thread. All failures carry Reaction::kReconnect unless said.
class Link {
 public:
  virtual ~Link() = default;

  // Takes up to data.size() bytes; may take none (0) when the other side does not keep up. Never blocks. The kernel
  // raises SIGPIPE for a far side that is gone, and libssh offers no way around it: the process ignores that signal.
  virtual absl::StatusOr<std::size_t> Write(absl::Span<const char> data) = 0;
  // What has arrived, up to buffer.size() bytes; 0: nothing now. An error once the far side closed or died, which
  // quotes the last line of its stderr and its exit status, if known. Never blocks.
  virtual absl::StatusOr<std::size_t> Read(absl::Span<char> buffer) = 0;
  // Bytes that were taken and are not handed to the kernel yet (libssh buffers them).
  virtual bool WritePending() const = 0;

  struct Ready {
    bool wakeup = false;  // `wakeup_fd` is readable
  };
  // Blocks until Read or, when `want_write`, Write may make progress, `wakeup_fd` is readable, or the time is over.
  virtual absl::StatusOr<Ready> Wait(bool want_write, int wakeup_fd, absl::Duration timeout) = 0;
};

// Each line that the far side writes to stderr (without newline, at most 1,000 bytes), called on the thread of the Link.
using StderrSink = std::function<void(std::string_view line)>;

struct SshOptions {
  std::string host;                 // name, address, or an alias of ~/.ssh/config
  std::optional<std::string> user;  // else as ~/.ssh/config or the current user
  std::optional<int> port;
  std::vector<std::string> identity_files;  // else as ~/.ssh/config, the defaults, and the agent
  std::string known_hosts;                  // file; empty: as ~/.ssh/config or ~/.ssh/known_hosts
  absl::Duration connect_timeout = absl::Seconds(15);
  absl::Duration peer_lost_after = absl::Seconds(15);  // a peer that vanishes is noticed within that time
  std::string command;              // what to run on the far side, as its shell takes it
  // Where config, known_hosts and the default keys are. Empty: ~/.ssh by the user database, as ssh(1) has it.
  std::string ssh_directory;
};

// Connects, checks the host key, authenticates, starts the command. Blocks up to a few connect_timeouts; `wakeup_fd`
// readable aborts at once, except while a host name is being resolved. Errors are never kHaltJob: a person may cure
// them on the other host. An unknown or changed host key and a refused key say the line to run.
absl::StatusOr<std::unique_ptr<Link>> ConnectSsh(const SshOptions& options, StderrSink stderr_sink, int wakeup_fd = -1);

// Starts a child process in a session of its own, with sockets as its stdin and stdout, a pipe as its stderr and no
// other descriptor of ours. It is not tied to the life of the calling thread: the end of its stdin tells it that we are gone. The
// destructor closes that, ends what is still there after kChildGrace (blocking for that long), and reaps it.
absl::StatusOr<std::unique_ptr<Link>> StartLocal(const std::vector<std::string>& argv, StderrSink stderr_sink);

// Quotes one argument for a POSIX shell.
std::string ShellQuote(std::string_view argument);

}  // namespace fanmirror::link
