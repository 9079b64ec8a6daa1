#pragma once

#include <functional>

#include "absl/status/status.h"
#include "daemon/job.h"
#include "nlohmann/json.hpp"

namespace fanmirror::daemon {

// What `verify` asks for.
struct VerifyRequest {
  TargetChoice choice;
  bool content = false;  // hash the files on both sides
  bool repair = false;   // correct what differs
};

// Blocks until all changes of the source that were made before the call are noted as pending, or `given_up`.
absl::Status DrainEvents(const Job& job, const std::function<bool()>& given_up);

// Gives whoever asked a part of the answer, and blocks as long as it does not take it, unless `given_up`. False: it went.
using Emit = std::function<bool(nlohmann::json part, const std::function<bool()>& given_up)>;

// Compares the source with each of the chosen targets in turn and gives, as it goes, "difference" objects (target, path,
// what, repaired), "progress" objects (target and counts) and at the end of each target a "verified" object (the same). An
// error: not all was compared. Blocks; ends early when `abandoned` is true or `emit` is false.
absl::Status RunVerification(const Jobs& jobs, const VerifyRequest& request, const std::function<bool()>& abandoned,
                             const Emit& emit);

}  // namespace fanmirror::daemon
