#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "daemon/log.h"
#include "daemon/service_manager.h"
#include "watch/mount.h"
#include "watch/watcher.h"

namespace fanmirror::daemon {

// The watches that outlive this process: the service manager keeps their descriptors, "queue-ID" and "buffer-ID" of each,
// and gives them to the next one. Thread-safe.
class KeptWatches {
 public:
  // Takes what the service manager gave to this process. `service` outlives this.
  KeptWatches(ServiceManager* service, watch::QueueBound bound, LogSink log);

  // Goes on with the watch of the mount's filesystem that an earlier process left; when there is none, or none that can be
  // believed, a new one begins, which is kept. Blocks on the filesystem. Errors as of watch::Watcher::Open.
  absl::StatusOr<std::unique_ptr<watch::Watcher>> Open(const watch::Mount& mount);
  // This watch, which Open gave, is over: nobody keeps it any more.
  void Discard(const watch::Watcher* watcher);
  // Nobody will ask for what is left: a queue that nobody reads only grows.
  void DiscardUnasked();

 private:
  struct Left {
    std::string id;
    std::string filesystem;  // empty: not a whole watch
    watch::KeptWatch descriptors;
  };
  // Takes one of this filesystem out of `left_`.
  std::vector<Left> TakeLeft(const std::string& filesystem);
  void Forget(const std::string& id) const;

  ServiceManager* const service_;
  const watch::QueueBound bound_;
  const LogSink log_;

  std::mutex mutex_;
  std::vector<Left> left_;                                           // guarded by mutex_; a handful
  absl::flat_hash_map<const watch::Watcher*, std::string> running_;  // guarded by mutex_: ids
};

}  // namespace fanmirror::daemon
