#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/change.h"
#include "os/tree.h"
#include "select/filter.h"
#include "watch/mount.h"

namespace fanmirror::watch {

// What one job wants to know of a filesystem.
struct Subscription {
  const os::Tree* tree = nullptr;  // of the job's source; outlives the watcher
  select::Filter filter;
  // Paths relative to the source root whose subtrees are not watched (state directory), beside the filter's.
  std::vector<std::string> ignored;
  // Called on the watcher's thread with changes below the source that are not excluded, coalesced within one read.
  std::function<void(absl::Span<const model::Change>)> changed;
  // Called on the watcher's thread when the kernel's queue overflowed or the watch was renewed: anything may differ.
  std::function<void()> lost;
};

// One fanotify mark on one filesystem, however many jobs subscribe to it, and the thread that reads its queue. At once
// when idle; in batches on a 10 ms tick under load, because that costs the writers least.
class Watcher {
 public:
  // Places the mark. From the return on, no change is missed.
  static absl::StatusOr<std::unique_ptr<Watcher>> Open(const Mount& mount);
  virtual ~Watcher() = default;  // stops and joins the thread

  virtual void Subscribe(Subscription subscription) = 0;  // before Start
  virtual void Start() = 0;
  // Events of this process's threads and of these processes are dropped (local receivers).
  virtual void IgnoreProcess(int pid) = 0;
  virtual void UnignoreProcess(int pid) = 0;

  // Blocks until every event of a change that was finished before the call has been given to `changed`.
  virtual absl::Status Drain(absl::Duration timeout) = 0;
  // Whether the mark is still there (an unmount removes it silently).
  virtual bool MarkAlive() const = 0;

  struct Counters {
    std::uint64_t events = 0;
    std::uint64_t overflows = 0;
  };
  virtual Counters counters() const = 0;
};

}  // namespace fanmirror::watch
