#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <thread>

#include "daemon/event_fd.h"
#include "daemon/job.h"
#include "daemon/log.h"
#include "daemon/service_manager.h"
#include "watch/mount.h"

namespace fanmirror::daemon {

// The thread that tells of changes of the mount table, samples the rates, and tells the service manager that we are alive.
// It touches no filesystem, so that none can hold it up.
class Supervisor {
 public:
  static constexpr absl::Duration kSampleInterval = absl::Seconds(1);

  // `jobs` and `service` outlive this. `mounts_changed` is called on the thread.
  Supervisor(const Jobs* jobs, const ServiceManager* service, const LogSink& log, std::function<void()> mounts_changed);
  ~Supervisor();

 private:
  void Run();
  // Until the mount table changes (true), the tick is over, or the end.
  bool WaitForMounts(absl::Duration tick);

  const Jobs* jobs_;
  const ServiceManager* service_;
  std::function<void()> mounts_changed_;
  std::unique_ptr<watch::MountMonitor> monitor_;  // null where there is none: the interval of each job must do
  EventFd end_;
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

}  // namespace fanmirror::daemon
