#pragma once

#include "absl/status/status.h"
#include "link/ssh_session.h"

namespace fanmirror::link {

// OK only for a host key that known_hosts holds for this host and port; libssh itself goes on with any. The refusal
// says what to run. The session is past ssh_connect().
absl::Status CheckHostKey(ssh_session session, const Destination& destination);

}  // namespace fanmirror::link
