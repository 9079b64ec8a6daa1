#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "daemon/kept_watches.h"
#include "watch/mount.h"
#include "watch/watcher.h"

namespace fanmirror::daemon {

// The watchers of this process: one a filesystem, shared by the jobs on it, and closed with the last of them.
// Thread-safe.
class Watchers {
 public:
  explicit Watchers(KeptWatches* kept) : kept_(kept) {}  // outlives this

  // The only way to a watcher: that of the mount's filesystem, opened when no job has it, and taken over from an earlier
  // process where that can be. From the return on its queue
  // holds what changes. Blocks on the filesystem. Each one obtained is to be released.
  absl::StatusOr<std::shared_ptr<watch::Watcher>> Obtain(const watch::Mount& mount);
  // The job does not use it any more; its subscription is gone. Who waits for it meanwhile may keep the pointer.
  void Release(const std::shared_ptr<watch::Watcher>& watcher);

  // A subscription has been made: the watcher may read its queue, as soon as BeginReading allows it. Further calls do
  // nothing.
  void Start(const std::shared_ptr<watch::Watcher>& watcher);
  // Once, when all jobs that can have subscribed: so none of them misses what a queue holds since before. Watches of an
  // earlier process that no job has obtained by now are given up.
  void BeginReading();
  // Nothing is read any more; what comes is left to the next process. Blocks for the events that are being told.
  void EndReading();

  // Sums over all watchers, closed ones included.
  watch::Watcher::Counters counters() const;

 private:
  struct Entry {
    std::string key;  // KeyOf(mount)
    std::shared_ptr<watch::Watcher> watcher;
    int jobs = 0;
    bool wanted = false;   // Start was called
    bool started = false;  // and so was Watcher::Start
  };
  std::shared_ptr<watch::Watcher> FindLocked(const std::string& key);
  void StartIfDue(Entry* entry) const;

  KeptWatches* const kept_;
  mutable std::mutex mutex_;
  std::condition_variable opened_;
  std::set<std::string> opening_;    // guarded by mutex_: keys that are being opened
  bool reading_ = false;             // guarded by mutex_
  bool ended_ = false;               // guarded by mutex_
  std::vector<Entry> entries_;       // guarded by mutex_; a handful
  watch::Watcher::Counters closed_;  // guarded by mutex_; of those that are gone
};

}  // namespace fanmirror::daemon
