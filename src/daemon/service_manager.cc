#include "daemon/service_manager.h"

#include <systemd/sd-daemon.h>

#include <cstdlib>
#include <utility>

namespace fanmirror::daemon {

ServiceManager::ServiceManager() : alive_interval_(absl::InfiniteDuration()) {
  std::uint64_t microseconds = 0;
  // Half of the time-out, as sd_watchdog_enabled(3) recommends.
  if (::sd_watchdog_enabled(0, &microseconds) > 0) {
    alive_interval_ = absl::Microseconds(static_cast<std::int64_t>(microseconds)) / 2;
  }
  char** names = nullptr;
  // Close-on-exec is set by this; no child is told of them either.
  const int count = ::sd_listen_fds_with_names(/*unset_environment=*/1, &names);
  for (int i = 0; i < count; ++i) {
    kept_.push_back({names[i], os::UniqueFd(SD_LISTEN_FDS_START + i)});
    std::free(names[i]);
  }
  std::free(names);
}

std::vector<ServiceManager::Kept> ServiceManager::TakeKept() { return std::exchange(kept_, {}); }

// FDPOLL=0: an event group is readable all the time, and that is no reason to let go of it.
void ServiceManager::Keep(const std::string& name, int fd) const {
  ::sd_pid_notify_with_fds(0, 0, ("FDSTORE=1\nFDPOLL=0\nFDNAME=" + name).c_str(), &fd, 1);
}

void ServiceManager::Forget(const std::string& name) const {
  ::sd_notify(0, ("FDSTOREREMOVE=1\nFDNAME=" + name).c_str());
}

void ServiceManager::Ready() const { ::sd_notify(0, "READY=1"); }
void ServiceManager::Stopping() const { ::sd_notify(0, "STOPPING=1"); }
void ServiceManager::Status(const std::string& line) const { ::sd_notify(0, ("STATUS=" + line).c_str()); }
void ServiceManager::Alive() const { ::sd_notify(0, "WATCHDOG=1"); }

}  // namespace fanmirror::daemon
