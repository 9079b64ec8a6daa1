#pragma once

#include <atomic>
#include <memory>
#include <thread>

#include "daemon/event_fd.h"
#include "daemon/job.h"
#include "daemon/log.h"
#include "daemon/service_manager.h"
#include "watch/mount.h"

namespace fanmirror::daemon {

// The thread that looks after running jobs: halts those whose source was unmounted or replaced, samples the
// rates, and tells the service manager that we are alive.
class Supervisor {
 public:
  static constexpr absl::Duration kSampleInterval = absl::Seconds(1);
  // Between two looks at the sources where no change of the mount table asks for one.
  static constexpr absl::Duration kSourceInterval = absl::Seconds(2);

  // `jobs` and `service` outlive this.
  Supervisor(const Jobs* jobs, const ServiceManager* service, const LogSink& log);
  ~Supervisor();

 private:
  void Run();
  // Until the mount table changes (true), the tick is over, or the end.
  bool WaitForMounts(absl::Duration tick);
  void CheckSources();

  const Jobs* jobs_;
  const ServiceManager* service_;
  std::unique_ptr<watch::MountMonitor> monitor_;  // null where there is none: the interval must do
  EventFd end_;
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

}  // namespace fanmirror::daemon
