#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "catalogue/catalogue.h"
#include "catalogue/pending_set.h"
#include "model/change.h"
#include "os/tree.h"

namespace fanmirror::replicate {

// Keeps the backlog of a target that is away bounded by files. What comes and goes (a file that is saved by writing a new
// one and renaming it, a temporary file) leaves an entry for each node and each name that it ever had. This looks at the
// source and merges those that no plan would act on by themselves into entries that stay. Nothing is ever only dropped:
// the barrier stays where it is until the target is back.
class Condenser {
 public:
  // All outlive the condenser.
  Condenser(const os::Tree* tree, const catalogue::Catalogue* catalogue, catalogue::PendingSet* pending);

  // A bounded part of a pass over the pending set, when it has changed since the last; true when the pass goes on. Only
  // while nothing is taken from the set and the catalogue holds all that was acknowledged.
  absl::StatusOr<bool> Step();

 private:
  bool Due(std::int64_t now_ns) const;
  absl::Status Condense(const std::vector<catalogue::PendingSet::Entry>& entries, std::int64_t now_ns);
  std::optional<model::Change> Replacement(const model::Change& change) const;
  std::optional<model::Change> ReplacementOfName(const model::Change& change) const;
  std::optional<model::Change> ReplacementOfNode(const model::Change& change) const;
  std::optional<model::Change> ReplacementOfTree(const model::Change& change) const;

  const os::Tree* tree_;
  const catalogue::Catalogue* catalogue_;
  catalogue::PendingSet* pending_;
  std::optional<model::Change> after_;  // the last place that this pass has seen; nullopt: no pass under way
  std::int64_t began_ns_ = 0;
  std::int64_t not_before_ns_ = 0;
  std::uint64_t size_ = 0;      // of the pending set after the last pass
  std::uint64_t sequence_ = 0;  // its newest number when that pass began
};

}  // namespace fanmirror::replicate
