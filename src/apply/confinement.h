#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace fanmirror::apply {

// Takes from the calling thread, and from all that it starts from now on, what a receiver of the directory `root_fd`
// (negative: of none) does not need, for good: files elsewhere (Landlock), programs, sockets and mounts (seccomp), and
// the capabilities beyond those that keep owners, devices and attributes; what the caller does not have it does not
// get. To be called before the first byte of a peer is looked at. Gives what the kernel could not do, as one line for
// people; empty: nothing is missing. Errors: kReconnect; then nothing may be served.
absl::StatusOr<std::string> Confine(int root_fd);

}  // namespace fanmirror::apply
