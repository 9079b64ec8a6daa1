#include "daemon/supervisor.h"

#include <poll.h>

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "daemon/status.h"

namespace fanmirror::daemon {

Supervisor::Supervisor(const Jobs* jobs, const ServiceManager* service, const LogSink& log,
                       std::function<void()> mounts_changed)
    : jobs_(jobs), service_(service), mounts_changed_(std::move(mounts_changed)) {
  auto monitor = watch::MountMonitor::Open();
  if (monitor.ok()) {
    monitor_ = *std::move(monitor);
  } else {
    log(Severity::kWarning, std::string(monitor.status().message()));
  }
  thread_ = std::thread([this] { Run(); });
}

Supervisor::~Supervisor() {
  ending_ = true;
  end_.Set();
  if (monitor_ != nullptr) monitor_->Wake();
  thread_.join();
}

void Supervisor::Run() {
  const absl::Duration tick = std::min(kSampleInterval, service_->alive_interval());
  absl::Time next_sample;
  while (!ending_) {
    const absl::Time now = absl::Now();
    if (now >= next_sample) {
      for (const auto& job : *jobs_) {
        for (const auto& target : job->targets) target->Sample(now);
      }
      next_sample = now + kSampleInterval;
    }
    service_->Status(StatusLine(*jobs_));
    service_->Alive();
    if (WaitForMounts(tick)) mounts_changed_();
  }
}

bool Supervisor::WaitForMounts(absl::Duration tick) {
  if (monitor_ != nullptr) {
    const absl::StatusOr<bool> changed = monitor_->Wait(tick);
    if (changed.ok()) return *changed;
  }
  pollfd end{end_.get(), POLLIN, 0};
  ::poll(&end, 1, static_cast<int>(absl::ToInt64Milliseconds(tick)));
  return false;
}

}  // namespace fanmirror::daemon
