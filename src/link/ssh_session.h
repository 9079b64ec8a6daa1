#pragma once

#include <libssh/callbacks.h>
#include <libssh/libssh.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "link/link.h"

namespace fanmirror::link {

// Frees the session with its channels and closes the descriptor that it was given; libssh also closes that by itself
// when it breaks, so it must be nobody else's. Not ssh_disconnect(): it would leave the descriptor open.
struct FreeSession {
  void operator()(ssh_session session) const { ssh_free(session); }
};
using Session = std::unique_ptr<ssh_session_struct, FreeSession>;

// Whom a session is for, as the options and ~/.ssh/config together say.
struct Destination {
  std::string alias;  // as given in the options
  std::string host;
  unsigned port = 22;
  std::string user;
  std::string proxy_command;  // before expansion; empty: none

  // user@host:port, for messages
  std::string ToString() const;
};

struct PreparedSession {
  Session session;
  Destination destination;
};

// A session with all options set, not connected. Reads ~/.ssh/config.
absl::StatusOr<PreparedSession> PrepareSession(const SshOptions& options);

// Callbacks of a session for the time of one step; libssh itself has no way to take them off again.
class ScopedCallbacks {
 public:
  // `callbacks` with its functions and userdata set.
  ScopedCallbacks(ssh_session session, const ssh_callbacks_struct& callbacks);
  ScopedCallbacks(const ScopedCallbacks&) = delete;
  ScopedCallbacks& operator=(const ScopedCallbacks&) = delete;
  ~ScopedCallbacks();

 private:
  ssh_session session_;
  ssh_callbacks_struct callbacks_;
};

// libssh's last error of the session, as one line.
std::string ErrorText(ssh_session session);

// An option that libssh holds as a string; empty when unset.
std::string GetOption(ssh_session session, ssh_options_e option);

}  // namespace fanmirror::link
