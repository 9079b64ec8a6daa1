#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "config/config.h"
#include "daemon/barrier.h"
#include "daemon/content_audit.h"
#include "daemon/control_server.h"
#include "daemon/job.h"
#include "daemon/log.h"
#include "daemon/service_manager.h"
#include "daemon/state_lock.h"
#include "daemon/status.h"
#include "daemon/supervisor.h"
#include "nlohmann/json.hpp"
#include "scan/walk.h"

namespace fanmirror::daemon {

// All jobs of one configuration, running, from Start until Stop. Public calls are thread-safe but for Stop.
class Daemon {
 public:
  // Returns once every job that can run does. A job that cannot is reported in the log and in the status, and
  // does not stop the others; a failure is one that concerns all: a state directory in use, a control socket
  // that cannot be made.
  static absl::StatusOr<std::unique_ptr<Daemon>> Start(config::Config config, LogSink log);
  ~Daemon();

  // Ends connections and receivers orderly; blocks until they are gone. What is pending stays for the next
  // start.
  void Stop();

  nlohmann::json Status() const { return StatusJson(jobs_, started_); }
  absl::Status Wait(const BarrierRequest& request, const std::function<bool()>& abandoned) const {
    return WaitForBarrier(jobs_, request, abandoned);
  }
  // Has each of the targets make the deletes that it holds back (replicate::Replicator::Approve).
  absl::Status Approve(const TargetChoice& choice);
  const Jobs& jobs() const { return jobs_; }
  const ServiceManager& service() const { return service_; }

 private:
  Daemon(config::Config config, StateLock lock, LogSink log);
  void StartJobs();
  absl::Status PrepareJob(Job* job);
  absl::StatusOr<watch::Watcher*> WatcherOf(const watch::Mount& mount);
  void OpenTarget(Job* job, Target* target);
  void Subscribe(const Job& job);
  void StopReplicators();

  config::Config config_;
  StateLock lock_;
  LogSink log_;
  ServiceManager service_;
  absl::Time started_;
  Jobs jobs_;  // destroyed after the watchers, whose threads call the replicators and use the trees
  absl::flat_hash_map<std::string, std::unique_ptr<watch::Watcher>> watchers_;  // by Mount::filesystem
  std::unique_ptr<Supervisor> supervisor_;
  std::vector<std::unique_ptr<ContentAudit>> audits_;
  std::unique_ptr<ControlServer> control_;
};

}  // namespace fanmirror::daemon
