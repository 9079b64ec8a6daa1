#include <libmount.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <utility>

#include "model/failure.h"
#include "os/unique_fd.h"
#include "watch/mount.h"

namespace fanmirror::watch {
namespace {

using model::Reaction;

constexpr char kTable[] = "the mount table";

struct UnrefMonitor {
  void operator()(libmnt_monitor* monitor) const { mnt_unref_monitor(monitor); }
};
using LibmountMonitor = std::unique_ptr<libmnt_monitor, UnrefMonitor>;

class KernelMountMonitor final : public MountMonitor {
 public:
  KernelMountMonitor(LibmountMonitor monitor, int fd, os::UniqueFd wakeup)
      : monitor_(std::move(monitor)), fd_(fd), wakeup_(std::move(wakeup)) {}

  absl::StatusOr<bool> Wait(absl::Duration timeout) override {
    pollfd polled[] = {{fd_, POLLIN, 0}, {wakeup_.get(), POLLIN, 0}};
    const timespec limit = absl::ToTimespec(timeout);
    const bool forever = timeout == absl::InfiniteDuration();
    if (ppoll(polled, 2, forever ? nullptr : &limit, nullptr) < 0) {
      if (errno == EINTR) return false;
      return model::SystemFailure(Reaction::kRetry, "ppoll", kTable, errno);
    }
    if (polled[1].revents != 0) {
      std::uint64_t wakes = 0;
      [[maybe_unused]] const ssize_t consumed = read(wakeup_.get(), &wakes, sizeof(wakes));
    }
    if (polled[0].revents == 0) return false;
    const int cleaned = mnt_monitor_event_cleanup(monitor_.get());
    if (cleaned < 0)
      return model::SystemFailure(Reaction::kRetry, "mnt_monitor_event_cleanup", kTable, -cleaned);
    return true;
  }

  void Wake() override {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(wakeup_.get(), &one, sizeof(one));
  }

 private:
  const LibmountMonitor monitor_;
  const int fd_;  // the monitor's
  const os::UniqueFd wakeup_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MountMonitor>> MountMonitor::Open() {
  LibmountMonitor monitor(mnt_new_monitor());
  if (monitor == nullptr) return model::SystemFailure(Reaction::kRetry, "mnt_new_monitor", kTable, ENOMEM);
  const int enabled = mnt_monitor_enable_kernel(monitor.get(), 1);
  if (enabled < 0)
    return model::SystemFailure(Reaction::kRetry, "mnt_monitor_enable_kernel", kTable, -enabled);
  const int fd = mnt_monitor_get_fd(monitor.get());
  if (fd < 0) return model::SystemFailure(Reaction::kRetry, "mnt_monitor_get_fd", kTable, -fd);
  os::UniqueFd wakeup(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wakeup) return model::SystemFailure(Reaction::kRetry, "eventfd", kTable, errno);
  return std::make_unique<KernelMountMonitor>(std::move(monitor), fd, std::move(wakeup));
}

}  // namespace fanmirror::watch
