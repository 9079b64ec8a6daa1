#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "watch/mount.h"
#include "watch/subscription.h"

namespace fanmirror::watch {

// One fanotify mark on one filesystem, however many jobs subscribe to it, and the thread that reads its
// queue. At once when idle; in batches on a 10 ms tick under load, because that costs the writers least.
// Thread-safe but for what is said below.
class Watcher {
 public:
  // Places the mark. From the return on, no change is missed. Needs CAP_SYS_ADMIN.
  static absl::StatusOr<std::unique_ptr<Watcher>> Open(const Mount& mount);
  virtual ~Watcher() = default;  // stops and joins the thread

  // At any time, before Start or after. Everything that changes after the return is told to it; what changed
  // before is what a scan finds that begins after the return. Returns the number that Unsubscribe takes.
  virtual std::uint64_t Subscribe(Subscription subscription) = 0;
  // Once this has returned, none of the subscription's callbacks runs, and none is called any more: what they
  // use may go. A number that is not subscribed is ignored. Both calls wait for callbacks that run; so neither
  // is to be made on the watcher's thread (from a callback), nor while holding a lock that a callback takes.
  virtual void Unsubscribe(std::uint64_t id) = 0;
  virtual void Start() = 0;  // once

  // Blocks until every event of a change that was finished before the call has been given to `changed`. After
  // Start, and not on the watcher's thread. kRetry when `timeout` has passed.
  virtual absl::Status Drain(absl::Duration timeout) = 0;
  // Whether the mark is still there: it goes silently with the filesystem, once that is mounted nowhere and
  // no os::Tree of it is open. An unmount that leaves a Tree is told by MountMonitor and IsStillMounted.
  virtual bool MarkAlive() const = 0;

  struct Counters {
    std::uint64_t events = 0;             // read from the queue, after the kernel merged them
    std::uint64_t overflows = 0;          // times that the kernel or we could not say what changed
    std::uint64_t filesystem_errors = 0;  // FAN_FS_ERROR: the filesystem found itself damaged
  };
  virtual Counters counters() const = 0;
};

}  // namespace fanmirror::watch
