#pragma once

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "catalogue/view.h"
#include "model/change.h"

namespace fanmirror::plan {

// Counts entries of a target, each once, however the places overlap that they are counted by. Keeps a number for each.
class EntryCounter {
 public:
  // The view outlives this and must not change meanwhile.
  explicit EntryCounter(const catalogue::View* view) : view_(view) {}

  // The entry of that name, when the target has one, and all that is below it.
  void AddTree(const model::Name& name);
  // Of kName and kLimbo: what is held back of it.
  void AddHeld(const model::Change& change);
  std::uint64_t count() const { return seen_.size(); }

 private:
  const catalogue::View* view_;
  absl::flat_hash_set<std::uint64_t> seen_;  // hashes of names
};

}  // namespace fanmirror::plan
