#include "daemon/service_manager.h"

#include <systemd/sd-daemon.h>

namespace fanmirror::daemon {

ServiceManager::ServiceManager() : alive_interval_(absl::InfiniteDuration()) {
  std::uint64_t microseconds = 0;
  // Half of the time-out, as sd_watchdog_enabled(3) recommends.
  if (::sd_watchdog_enabled(0, &microseconds) > 0) {
    alive_interval_ = absl::Microseconds(static_cast<std::int64_t>(microseconds)) / 2;
  }
}

void ServiceManager::Ready() const { ::sd_notify(0, "READY=1"); }
void ServiceManager::Stopping() const { ::sd_notify(0, "STOPPING=1"); }
void ServiceManager::Status(const std::string& line) const { ::sd_notify(0, ("STATUS=" + line).c_str()); }
void ServiceManager::Alive() const { ::sd_notify(0, "WATCHDOG=1"); }

}  // namespace fanmirror::daemon
