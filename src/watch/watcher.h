#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "os/unique_fd.h"
#include "watch/mount.h"
#include "watch/queue_bound.h"
#include "watch/subscription.h"

namespace fanmirror::watch {

// What a watch consists of beyond the process that reads it.
struct KeptWatch {
  os::UniqueFd queue;   // the fanotify group: events that were not read
  os::UniqueFd buffer;  // a KeptBuffer: events that were read and may not have been noted
};

// One fanotify mark on one filesystem, however many jobs subscribe to it, and the thread that reads its
// queue. At once when idle; in batches on a 10 ms tick under load, because that costs the writers least.
// Thread-safe but for what is said below.
class Watcher {
 public:
  // Places the mark. From the return on, no change is missed. Needs CAP_SYS_ADMIN.
  static absl::StatusOr<std::unique_ptr<Watcher>> Open(const Mount& mount,
                                                       QueueBound bound = QueueBound::kUnlimited);
  // Goes on with the watch of a process that is dead, if it is one of this very filesystem and has seen all of it since
  // it began. If not, the error says why, and the descriptors are closed.
  static absl::StatusOr<std::unique_ptr<Watcher>> Continue(KeptWatch kept, const Mount& mount,
                                                           QueueBound bound = QueueBound::kUnlimited);
  // The filesystem (Mount::filesystem) that a kept buffer is of; empty when it is of none.
  static std::string FilesystemOf(int buffer);
  virtual ~Watcher() = default;  // stops and joins the thread

  // At any time, before Start or after. Everything that changes after the return is told to it; what changed
  // before is what a scan finds that begins after the return. Returns the number that Unsubscribe takes.
  virtual std::uint64_t Subscribe(Subscription subscription) = 0;
  // Once this has returned, none of the subscription's callbacks runs, and none is called any more: what they
  // use may go. A number that is not subscribed is ignored. Both calls wait for callbacks that run; so neither
  // is to be made on the watcher's thread (from a callback), nor while holding a lock that a callback takes.
  virtual void Unsubscribe(std::uint64_t id) = 0;
  virtual void Start() = 0;  // once
  // Nothing is read any more, and no callback runs or is called: what comes stays in the queue. What is remembered of
  // pending sets stays as it is, whatever ends afterwards. Blocks for callbacks. For the end of this process.
  virtual void Stop() = 0;

  // ---- What the watch remembers of pending sets, as long as it lives: with somebody who keeps its descriptors, beyond
  // this process. A token (random, not 0) stands for one pending set together with the selection that was noted in it.
  // It is complete when the pending set has noted all that was told to the selection since SetComplete, or it is told
  // again: then nobody needs to scan. Thread-safe; not to be called on the watcher's thread, but for SetIncomplete.

  // Whether the token is complete, which it then stays, for the subscription. Before Start; Start forgets all tokens
  // that nobody asked for, since what it tells is noted by those that are subscribed.
  virtual bool IsComplete(std::uint64_t id, std::uint64_t token) = 0;
  // From now on; a scan that has yet to begin is noted in the pending set. Ended by Unsubscribe, but not after Stop.
  virtual void SetComplete(std::uint64_t id, std::uint64_t token) = 0;
  // Something was not or will not be noted. To be called before `changed` or `lost` returns, or before it is told.
  // Cannot fail. Does nothing after Stop.
  virtual void SetIncomplete(std::uint64_t token) = 0;

  // The descriptors in which the watch lives on once this process is dead: queue and buffer; owned by the watcher.
  virtual std::pair<int, int> descriptors() const = 0;

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
