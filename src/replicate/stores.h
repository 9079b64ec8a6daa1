#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "catalogue/catalogue.h"
#include "catalogue/pending_set.h"
#include "replicate/identity.h"
#include "replicate/replicator.h"

namespace fanmirror::replicate {

// What one target keeps in its state directory.
struct Stores {
  std::unique_ptr<catalogue::PendingSet> pending;
  std::unique_ptr<catalogue::Catalogue> catalogue;  // of identity.source, its header says so
  Identity identity;
  bool adopting = false;  // the target is to be taken over: ReadAdoption named this very source
};

// Those of options.state_dir, made when missing. Refused (kHaltJob) when they are of another source, unless that is to be
// adopted. Blocks for the disk.
absl::StatusOr<Stores> OpenStores(const Options& options);

}  // namespace fanmirror::replicate
