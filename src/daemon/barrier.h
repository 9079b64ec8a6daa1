#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "daemon/job.h"

namespace fanmirror::daemon {

// Which targets a barrier is for; empty: all.
struct BarrierRequest {
  std::string job;
  std::string target;
  absl::Duration timeout = absl::Seconds(60);
};

// Blocks until everything that changed before the call is durable on the chosen targets. Fails at once when
// one of them does not run (paused, halted, ...), and after the timeout with what it waited for and the last error.
// `abandoned` (any thread may make it true) ends it early. Thread-safe.
absl::Status WaitForBarrier(const Jobs& jobs, const BarrierRequest& request,
                            const std::function<bool()>& abandoned);

}  // namespace fanmirror::daemon
