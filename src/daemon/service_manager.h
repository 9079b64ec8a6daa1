#pragma once

#include <string>

#include "absl/time/time.h"

namespace fanmirror::daemon {

// What systemd hears of us (sd_notify(3)). Without NOTIFY_SOCKET in the environment all of it does nothing.
// Thread-safe; does not block.
class ServiceManager {
 public:
  ServiceManager();
  void Ready() const;
  void Stopping() const;
  // One line for `systemctl status`.
  void Status(const std::string& line) const;
  void Alive() const;
  // Alive must be called at least this often; infinite when the unit has no WatchdogSec.
  absl::Duration alive_interval() const { return alive_interval_; }

 private:
  absl::Duration alive_interval_;
};

}  // namespace fanmirror::daemon
