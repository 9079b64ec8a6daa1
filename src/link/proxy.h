#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "link/child.h"
#include "link/link.h"
#include "link/ssh_session.h"
#include "os/unique_fd.h"

namespace fanmirror::link {

// A command that carries the connection to sshd (ProxyCommand, or `ssh -W` for ProxyJump). Destroyed after the session
// that talks through it.
struct Proxy {
  std::unique_ptr<Child> child;
  os::UniqueFd errors;  // its stderr, non-blocking
};

struct StartedProxy {
  Proxy proxy;
  os::UniqueFd socket;  // our end: its stdin and stdout
};

// Starts destination.proxy_command, which must not be empty.
absl::StatusOr<StartedProxy> StartProxy(const SshOptions& options, const Destination& destination);

// The command as the shell gets it: %h, %p, %r, %n and %% replaced, and the keys and host key file which the options
// name added where libssh has made the command from a ProxyJump line.
absl::StatusOr<std::string> ExpandProxyCommand(const SshOptions& options, const Destination& destination);

}  // namespace fanmirror::link
