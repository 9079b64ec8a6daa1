#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "catalogue/view.h"
#include "plan/planner.h"

namespace fanmirror::replicate {

// What came of one op.
struct OpResult {
  enum class Kind {
    kApplied,
    kGone,    // the source's node was gone when it was to be read
    kMoved,   // it was not in its place in the source
    kFailed   // `status` says why
  };
  Kind kind = Kind::kApplied;
  absl::Status status;
  bool untried = false;       // kFailed: the receiver left it alone, because an op before it failed there
  bool read = false;          // `record` is what was read and sent
  bool content_read = false;  // its content, too
  bool content_sent = false;
  bool raced = false;         // the node moved while it was read
  catalogue::Record record;
};

// Ops that are applied and made durable together, and what came of them. The planning thread makes it, the session's
// thread sends it and fills in the results, then it goes back.
struct Batch {
  std::uint64_t number = 0;
  std::uint64_t settled = 0;   // failures up to this batch were taken into account in planning it
  std::uint64_t round = 0;     // the round that planned it; `last_of_round`: its effects may be retired
  bool last_of_round = true;
  std::uint64_t guarded = 0;   // steps that the guard counts as deletes; 0 when they are approved
  std::vector<plan::Step> steps;
  std::vector<OpResult> results;  // one for each step
  std::vector<catalogue::Effect> forgotten;  // effects that need no op, before those of the steps
  // Of the oldest change that it was planned for: what fails is not newer than that.
  std::uint64_t first_sequence = 0;
  std::int64_t first_ns = 0;
};

}  // namespace fanmirror::replicate
