#pragma once

#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "config/config.h"
#include "link/link.h"
#include "watch/watcher.h"

namespace fanmirror::daemon {

using Connect = std::function<absl::StatusOr<std::unique_ptr<link::Link>>(link::StderrSink, int wakeup_fd)>;

// How a target's receiver is reached: over SSH, or for a target without host as a child of ours, which
// `watcher` (may be null; outlives every link made) is told to ignore while it lives.
Connect ConnectTo(const config::Target& target, watch::Watcher* watcher);

// What ConnectTo passes for a target with a host, with `command` in place of the receiver.
link::SshOptions SshOptionsOf(const config::Target& target, std::string command);

// The running program, also when its file has been replaced by an upgrade.
std::string OwnProgram();

}  // namespace fanmirror::daemon
