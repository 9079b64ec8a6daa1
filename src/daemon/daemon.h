#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "config/config.h"
#include "daemon/barrier.h"
#include "daemon/content_audit.h"
#include "daemon/control_server.h"
#include "daemon/job.h"
#include "daemon/job_runner.h"
#include "daemon/kept_watches.h"
#include "daemon/log.h"
#include "daemon/service_manager.h"
#include "daemon/state_lock.h"
#include "daemon/status.h"
#include "daemon/supervisor.h"
#include "daemon/watchers.h"
#include "nlohmann/json.hpp"

namespace fanmirror::daemon {

// All jobs of one configuration, running, from Start until Stop. Public calls are thread-safe but for Stop.
class Daemon {
 public:
  // A job whose source does not answer is not waited for longer.
  static constexpr absl::Duration kStartPatience = absl::Seconds(10);

  // Returns once every job that can run does. A job that cannot is reported in the log and in the status, tries again,
  // and does not stop the others; a failure is one that concerns all: a state directory in use, a control socket that
  // cannot be made.
  static absl::StatusOr<std::unique_ptr<Daemon>> Start(config::Config config, LogSink log);
  ~Daemon();

  // Ends connections and receivers orderly; blocks until they are gone. What is pending stays for the next
  // start.
  void Stop();

  nlohmann::json Status() const { return StatusJson(jobs_, watchers_.counters(), started_); }
  absl::Status Wait(const BarrierRequest& request, const std::function<bool()>& abandoned) const {
    return WaitForBarrier(jobs_, request, abandoned);
  }
  // Has each of the targets make the deletes that it holds back (replicate::Replicator::Approve).
  absl::Status Approve(const TargetChoice& choice);
  // JobRunner::Adopt for each of the targets; blocks.
  absl::Status Adopt(const TargetChoice& choice);
  const Jobs& jobs() const { return jobs_; }
  const ServiceManager& service() const { return service_; }

 private:
  Daemon(config::Config config, StateLock lock, LogSink log);
  void StartJobs();

  config::Config config_;
  StateLock lock_;
  LogSink log_;
  ServiceManager service_;
  KeptWatches kept_watches_;
  absl::Time started_;
  Jobs jobs_;
  Watchers watchers_;
  std::vector<std::unique_ptr<JobRunner>> runners_;  // as jobs_
  std::unique_ptr<Supervisor> supervisor_;
  std::vector<std::unique_ptr<ContentAudit>> audits_;
  std::unique_ptr<ControlServer> control_;
};

}  // namespace fanmirror::daemon
