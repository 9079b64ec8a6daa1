#pragma once

#include <memory>
#include <vector>

#include "catalogue/pending_set.h"

namespace fanmirror::replicate {

// Entries of the pending set that are settled together, once everything that was planned for them is proved. Used by the
// planning thread alone.
struct Proof {
  std::vector<catalogue::PendingSet::Entry> entries;
};

using ProofHandle = std::shared_ptr<Proof>;

}  // namespace fanmirror::replicate
