#pragma once

#include <mutex>
#include <vector>

#include "absl/types/span.h"
#include "model/change.h"
#include "replicate/replicator.h"

namespace fanmirror::daemon {

// Gives the changes of a job's one subscription to those of its targets that run now. Thread-safe.
class Fanout {
 public:
  void Add(replicate::Replicator* replicator);
  // Once this has returned, the replicator is not called any more. What changes from here on it must learn by a scan.
  void Remove(replicate::Replicator* replicator);

  void Changed(absl::Span<const model::Change> changes) const;
  void Rescan() const;

 private:
  mutable std::mutex mutex_;
  std::vector<replicate::Replicator*> replicators_;  // guarded by mutex_
};

}  // namespace fanmirror::daemon
