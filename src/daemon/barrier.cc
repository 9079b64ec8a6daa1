#include "daemon/barrier.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "model/failure.h"

namespace fanmirror::daemon {
namespace {

// Between two looks at the replicators: short at first, since an idle system answers within a round trip.
constexpr absl::Duration kShortestPause = absl::Microseconds(100);
constexpr absl::Duration kLongestPause = absl::Milliseconds(2);

struct Waiting {
  const Job* job;
  const Target* target;
  std::optional<Target::Mark> mark;
};

absl::Status Refusal(const std::string& line) { return model::Failure(model::Reaction::kHaltJob, line); }

absl::Status CheckNoneStopped(const std::vector<Waiting>& waiting) {
  for (const Waiting& one : waiting) {
    if (const auto why = one.target->WhyStopped()) {
      return Refusal(absl::StrCat(TargetName(*one.job, *one.target), " ", *why));
    }
  }
  return absl::OkStatus();
}

// A mark for each that has none, or one of a replicator that is gone: after its watcher's queue was read up to now.
absl::Status TakeMarks(std::vector<Waiting>* waiting, absl::Time deadline) {
  absl::flat_hash_set<std::shared_ptr<watch::Watcher>> drained;
  for (const Waiting& one : *waiting) {
    if (one.mark) continue;
    const std::shared_ptr<watch::Watcher> watcher = one.job->source().watcher;
    if (watcher == nullptr || !drained.insert(watcher).second) continue;
    const absl::Duration left = std::max(deadline - absl::Now(), absl::ZeroDuration());
    if (absl::Status status = watcher->Drain(left); !status.ok()) return status;
  }
  for (Waiting& one : *waiting) {
    if (!one.mark) one.mark = one.target->TakeMark();
  }
  return absl::OkStatus();
}

bool IsReached(Waiting* one) {
  if (!one->mark) return false;
  const Target::Reach reach = one->target->Reached(*one->mark);
  if (reach == Target::Reach::kReopened) one->mark.reset();
  return reach == Target::Reach::kReached;
}

std::string WaitedFor(const std::vector<Waiting>& waiting) {
  std::vector<std::string> parts;
  for (const Waiting& one : waiting) {
    const Target::Status status = one.target->status();
    std::string part = absl::StrCat(TargetName(*one.job, *one.target), " (", status.state, ", ",
                                    status.progress.pending, " pending");
    if (!status.progress.last_error.empty()) absl::StrAppend(&part, ", last error: ", status.progress.last_error);
    parts.push_back(part + ")");
  }
  return absl::StrJoin(parts, "; ");
}

}  // namespace

absl::Status WaitForBarrier(const Jobs& jobs, const BarrierRequest& request,
                            const std::function<bool()>& abandoned) {
  const absl::Time deadline = absl::Now() + request.timeout;
  const auto chosen = ChooseTargets(jobs, {request.job, request.target});
  if (!chosen.ok()) return chosen.status();
  std::vector<Waiting> waiting;
  for (const ChosenTarget& one : *chosen) waiting.push_back({one.job, one.target, std::nullopt});

  for (absl::Duration pause = kShortestPause;; pause = std::min(2 * pause, kLongestPause)) {
    if (absl::Status status = CheckNoneStopped(waiting); !status.ok()) return status;
    if (absl::Status status = TakeMarks(&waiting, deadline); !status.ok()) return status;
    std::erase_if(waiting, [](Waiting& one) { return IsReached(&one); });
    if (waiting.empty()) return absl::OkStatus();
    if (abandoned()) return Refusal("nobody waits for the answer any more, or the daemon is ending");
    if (absl::Now() >= deadline) {
      return model::Failure(model::Reaction::kRetry,
                            absl::StrCat("not durable after ", absl::FormatDuration(request.timeout), ": ",
                                         WaitedFor(waiting)));
    }
    absl::SleepFor(pause);
  }
}

}  // namespace fanmirror::daemon
