#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "os/unique_fd.h"

namespace fanmirror::link {

// A TCP connection (CLOEXEC, blocking) to the first address of `host` that answers; all are tried, each gets its share
// of `timeout`. A peer that vanishes is noticed within about `peer_lost_after` (3 s at least). `wakeup_fd` readable (-1:
// none) aborts.
absl::StatusOr<os::UniqueFd> ConnectTcp(const std::string& host, unsigned port, absl::Duration timeout,
                                        absl::Duration peer_lost_after, int wakeup_fd);

// The failure that an abort by `wakeup_fd` gives.
absl::Status Aborted(const std::string& where);

}  // namespace fanmirror::link
