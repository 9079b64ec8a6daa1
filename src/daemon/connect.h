#pragma once

#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "config/config.h"
#include "link/link.h"

namespace fanmirror::daemon {

using Connect = std::function<absl::StatusOr<std::unique_ptr<link::Link>>(link::StderrSink, int wakeup_fd)>;

// How a target's receiver is reached: over SSH, or for a target without host as a child of ours. What that child writes is
// not ignored, because its root may be another job's source.
Connect ConnectTo(const config::Target& target);

// What ConnectTo passes for a target with a host, with `command` in place of the receiver.
link::SshOptions SshOptionsOf(const config::Target& target, std::string command);

// The running program, also when its file has been replaced by an upgrade.
std::string OwnProgram();

}  // namespace fanmirror::daemon
