#include "daemon/barrier.h"

#include <algorithm>
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
  std::uint64_t mark = 0;
};

absl::Status Refusal(const std::string& line) { return model::Failure(model::Reaction::kHaltJob, line); }

absl::Status DrainWatchers(const std::vector<Waiting>& waiting, absl::Time deadline) {
  absl::flat_hash_set<watch::Watcher*> drained;
  for (const Waiting& one : waiting) {
    if (one.job->watcher == nullptr || !drained.insert(one.job->watcher).second) continue;
    const absl::Duration left = std::max(deadline - absl::Now(), absl::ZeroDuration());
    if (absl::Status status = one.job->watcher->Drain(left); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status CheckNoneStopped(const std::vector<Waiting>& waiting) {
  for (const Waiting& one : waiting) {
    if (const auto why = WhyStopped(*one.job, *one.target)) {
      return Refusal(absl::StrCat(TargetName(*one.job, *one.target), " ", *why));
    }
  }
  return absl::OkStatus();
}

std::string WaitedFor(const std::vector<Waiting>& waiting) {
  std::vector<std::string> parts;
  for (const Waiting& one : waiting) {
    const replicate::Progress progress = one.target->replicator->progress();
    std::string part =
        absl::StrCat(TargetName(*one.job, *one.target), " (", replicate::StateName(progress.state).data(),
                     ", ", progress.pending, " pending");
    if (!progress.last_error.empty()) absl::StrAppend(&part, ", last error: ", progress.last_error);
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
  for (const ChosenTarget& one : *chosen) waiting.push_back({one.job, one.target});
  if (absl::Status status = CheckNoneStopped(waiting); !status.ok()) return status;
  if (absl::Status status = DrainWatchers(waiting, deadline); !status.ok()) return status;
  for (Waiting& one : waiting) one.mark = one.target->replicator->Mark();

  for (absl::Duration pause = kShortestPause;; pause = std::min(2 * pause, kLongestPause)) {
    std::erase_if(waiting, [](const Waiting& one) { return one.target->replicator->Reached(one.mark); });
    if (waiting.empty()) return absl::OkStatus();
    if (absl::Status status = CheckNoneStopped(waiting); !status.ok()) return status;
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
