#include "replicate/condenser.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "os/clock.h"
#include "plan/planner.h"

namespace fanmirror::replicate {

using catalogue::PendingSet;
using model::Change;
using model::Name;
using model::NodeType;

namespace {

// Entries of one step: the time for which the thread hears of nothing else.
constexpr std::size_t kStepEntries = 1'000;
// Pauses are so many times as long as the passes, so that a large backlog does not cost a core.
constexpr std::int64_t kPauseForPass = 4;
constexpr std::int64_t kLeastPauseNs = 1'000'000'000;
// However long the last pass took, the next begins when the set has grown by a quarter and so much more: then each new
// entry costs five looks at the most. Entries.
constexpr std::uint64_t kMostGrowth = 1'000;

}  // namespace

Condenser::Condenser(const os::Tree* tree, const catalogue::Catalogue* catalogue, PendingSet* pending)
    : tree_(tree), catalogue_(catalogue), pending_(pending) {}

bool Condenser::Due(std::int64_t now_ns) const {
  if (pending_->Size() > size_ + size_ / 4 + kMostGrowth) return true;
  // A pass that merges something is noted in the set, too: the next finds nothing and is the last.
  return now_ns >= not_before_ns_ && pending_->LastSequence() != sequence_;
}

absl::StatusOr<bool> Condenser::Step() {
  const std::int64_t now_ns = os::BoottimeNs();
  if (!after_ && !Due(now_ns)) return false;
  if (!after_) {
    began_ns_ = now_ns;
    sequence_ = pending_->LastSequence();
  }
  const auto entries = pending_->List(after_ ? &*after_ : nullptr, kStepEntries);
  if (!entries.ok()) return entries.status();
  if (absl::Status status = Condense(*entries, now_ns); !status.ok()) return status;
  after_.reset();
  if (entries->size() == kStepEntries) {
    after_ = entries->back().change;
    return true;
  }
  size_ = pending_->Size();
  const std::int64_t end_ns = os::BoottimeNs();
  not_before_ns_ = end_ns + std::max(kLeastPauseNs, kPauseForPass * (end_ns - began_ns_));
  return false;
}

// An entry that is noted again after it was listed stays, whatever is seen here: Settle knows by its last sequence.
absl::Status Condenser::Condense(const std::vector<PendingSet::Entry>& entries, std::int64_t now_ns) {
  std::vector<PendingSet::Entry> replaced;
  std::vector<PendingSet::Retry> replacements;
  for (const PendingSet::Entry& entry : entries) {
    // Shown to people, or waiting for one.
    if (entry.attempts > 0 || entry.due_ns == PendingSet::kHeldNs) continue;
    auto replacement = Replacement(entry.change);
    if (!replacement) continue;
    replacements.push_back({.change = *std::move(replacement),
                            .due_ns = entry.due_ns,
                            .failed = false,
                            .error = "",
                            .first_ns = entry.first_ns,
                            .first_sequence = entry.first_sequence});
    replaced.push_back(entry);
    replaced.back().taken_ns = now_ns;
  }
  if (absl::Status status = catalogue_->health(); !status.ok() || replaced.empty()) return status;
  return pending_->Settle(replaced, replacements);
}

std::optional<Change> Condenser::Replacement(const Change& change) const {
  switch (change.kind) {
    case Change::Kind::kName:
      return ReplacementOfName(change);
    case Change::Kind::kNode:
      return ReplacementOfNode(change);
    case Change::Kind::kTree:
      return ReplacementOfTree(change);
    case Change::Kind::kLimbo:
      return std::nullopt;
  }
  return std::nullopt;
}

// A name that neither the source nor the target has came and went: its directory's times are what is left of it. A
// batch of unknown outcome may have made it on the target; the journal of intents knows those places.
std::optional<Change> Condenser::ReplacementOfName(const Change& change) const {
  const Name name{change.id, change.name};
  if (catalogue_->Child(name)) return std::nullopt;
  const auto node = tree_->Look(name);
  if (!node.ok() || *node) return std::nullopt;
  return plan::NodeChange(catalogue_->Node(name.dir) ? name.dir : tree_->root());
}

// Of a node that is gone its names tell. One that the target does not have comes there by its name; while it has only
// one, that one stands for the node.
std::optional<Change> Condenser::ReplacementOfNode(const Change& change) const {
  if (change.id == tree_->root()) return std::nullopt;
  const auto node = tree_->LookNode(change.id);
  if (!node.ok()) return std::nullopt;
  if (!*node) return plan::NodeChange(tree_->root());
  if (catalogue_->Node(change.id)) return std::nullopt;
  const bool one_name = (*node)->metadata.type == NodeType::kDirectory || (*node)->metadata.links == 1;
  if (!one_name) return std::nullopt;
  const auto place = tree_->Locate(change.id);
  if (!place.ok() || place->kind != os::Tree::Place::Kind::kInside) return std::nullopt;
  Change name = plan::NameChange(place->name);
  name.content = change.content;
  return name;
}

// Nothing is below a directory that is gone; its names tell.
std::optional<Change> Condenser::ReplacementOfTree(const Change& change) const {
  if (change.id == tree_->root()) return std::nullopt;
  const auto node = tree_->LookNode(change.id);
  if (!node.ok() || *node) return std::nullopt;
  return plan::NodeChange(tree_->root());
}

}  // namespace fanmirror::replicate
