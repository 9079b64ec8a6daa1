#include "daemon/fanout.h"

#include <vector>

namespace fanmirror::daemon {

void Fanout::Add(replicate::Replicator* replicator) {
  std::lock_guard lock(mutex_);
  replicators_.push_back(replicator);
}

void Fanout::Remove(replicate::Replicator* replicator) {
  std::lock_guard lock(mutex_);
  replicator->Detach();
  std::erase(replicators_, replicator);
}

void Fanout::Changed(absl::Span<const model::Change> changes) const {
  std::lock_guard lock(mutex_);
  for (replicate::Replicator* replicator : replicators_) replicator->Changed(changes);
}

void Fanout::Rescan() const {
  std::lock_guard lock(mutex_);
  for (replicate::Replicator* replicator : replicators_) replicator->Rescan();
}

}  // namespace fanmirror::daemon
