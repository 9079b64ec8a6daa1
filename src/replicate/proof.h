#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "catalogue/pending_set.h"

namespace fanmirror::replicate {

// Entries of the pending set that are settled together, once everything that was planned for them is proved:
// the batches and the walks that hold it have all let go. Used by the planning thread alone.
struct Proof {
  std::vector<catalogue::PendingSet::Entry> entries;
  // For places of these entries: settled with them, in one call, so that no barrier takes what is to be tried
  // again for proved. Nothing when the connection is lost: the entries are given back then.
  std::vector<catalogue::PendingSet::Retry> retries;
  int holders = 0;
};

using ProofHandle = std::shared_ptr<Proof>;

// What something is done for: the oldest change, and the proofs that it is part of.
struct Since {
  std::uint64_t sequence = 0;  // 0: none
  std::int64_t ns = 0;
  std::vector<ProofHandle> proofs;
  void Include(const ProofHandle& proof);
};

}  // namespace fanmirror::replicate
