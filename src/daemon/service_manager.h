#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "os/unique_fd.h"

namespace fanmirror::daemon {

// What systemd hears of us (sd_notify(3)) and keeps for us (sd_listen_fds(3)). Without NOTIFY_SOCKET in the environment all
// of it does nothing.
// Thread-safe; does not block.
class ServiceManager {
 public:
  ServiceManager();
  void Ready() const;
  void Stopping() const;
  // One line for `systemctl status`.
  void Status(const std::string& line) const;
  void Alive() const;

  // A descriptor that it keeps while we are dead, by name.
  struct Kept {
    std::string name;
    os::UniqueFd fd;
  };
  // Those that it gave to this process, close-on-exec; it goes on keeping them. Gives them once.
  std::vector<Kept> TakeKept();
  // Has it keep a descriptor of ours until Forget, or until the service is stopped. `name`: below 256 characters, no ':'.
  void Keep(const std::string& name, int fd) const;
  // It lets go of all that it keeps under the name.
  void Forget(const std::string& name) const;

  // Alive must be called at least this often; infinite when the unit has no WatchdogSec.
  absl::Duration alive_interval() const { return alive_interval_; }

 private:
  absl::Duration alive_interval_;
  std::vector<Kept> kept_;
};

}  // namespace fanmirror::daemon
