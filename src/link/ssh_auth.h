#pragma once

#include "absl/status/status.h"
#include "link/ssh_session.h"

namespace fanmirror::link {

// Authenticates by public key: with options.identity_files and no other, if there are any (an encrypted one through the
// agent); else with the agent's keys, then those of ~/.ssh/config and the default ones. The refusal lists what was
// tried and says what to run. Only after CheckHostKey(). Blocks; `socket_fd` is the session's socket.
absl::Status Authenticate(ssh_session session, const SshOptions& options, const Destination& destination,
                          int socket_fd);

}  // namespace fanmirror::link
