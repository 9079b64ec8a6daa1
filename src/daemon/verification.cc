#include "daemon/verification.h"

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "model/failure.h"
#include "replicate/replicator.h"

namespace fanmirror::daemon {
namespace {

using nlohmann::json;

// So long may the events that are under way take to be noted.
constexpr absl::Duration kDrainTimeout = absl::Seconds(60);

json CountsJson(const ChosenTarget& target, const replicate::VerifyCounts& counts) {
  return {{"target", TargetName(*target.job, *target.target)},
          {"compared", counts.compared},
          {"hashed_files", counts.hashed},
          {"hashed_bytes", counts.hashed_bytes},
          {"differences", counts.differences},
          {"repaired", counts.repaired},
          {"pending", counts.pending},
          {"links_left_out", counts.links_left_out}};
}

absl::Status VerifyTarget(const ChosenTarget& chosen, const VerifyRequest& request, const std::function<bool()>& abandoned,
                          const std::function<bool(json)>& emit) {
  if (const auto why = WhyStopped(*chosen.job, *chosen.target)) return model::Failure(model::Reaction::kHaltJob, *why);
  replicate::VerifyOptions options;
  options.content = request.content;
  options.repair = request.repair;
  options.abandoned = abandoned;
  options.drain = [&chosen] { return DrainEvents(*chosen.job); };
  options.differs = [&](const replicate::Difference& difference) {
    return emit({{"difference",
                  {{"target", TargetName(*chosen.job, *chosen.target)},
                   {"path", model::QuotePath(difference.path.empty() ? "." : difference.path)},
                   {"what", difference.what},
                   {"repaired", difference.repaired}}}});
  };
  options.progress = [&](const replicate::VerifyCounts& counts) { return emit({{"progress", CountsJson(chosen, counts)}}); };
  const auto counts = chosen.target->replicator->Verify(options);
  if (!counts.ok()) return counts.status();
  emit({{"verified", CountsJson(chosen, *counts)}});
  return absl::OkStatus();
}

}  // namespace

absl::Status DrainEvents(const Job& job) {
  return job.watcher == nullptr ? absl::OkStatus() : job.watcher->Drain(kDrainTimeout);
}

absl::Status RunVerification(const Jobs& jobs, const VerifyRequest& request, const std::function<bool()>& abandoned,
                             const std::function<bool(json)>& emit) {
  const auto chosen = ChooseTargets(jobs, request.choice);
  if (!chosen.ok()) return chosen.status();
  for (const ChosenTarget& one : *chosen) {
    if (const absl::Status status = VerifyTarget(one, request, abandoned, emit); !status.ok()) {
      return model::Failure(model::ReactionOf(status),
                            absl::StrCat(TargetName(*one.job, *one.target), ": ", std::string(status.message())));
    }
  }
  return absl::OkStatus();
}

}  // namespace fanmirror::daemon
