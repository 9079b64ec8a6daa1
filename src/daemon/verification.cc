#include "daemon/verification.h"

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "model/failure.h"
#include "replicate/replicator.h"

namespace fanmirror::daemon {
namespace {

using nlohmann::json;

// So long may the events that are under way take to be noted.
constexpr absl::Duration kDrainTimeout = absl::Seconds(60);
// And so long is waited at a time: whoever takes the source away waits for it.
constexpr absl::Duration kDrainStep = absl::Seconds(5);

json CountsJson(const ChosenTarget& target, const replicate::VerifyCounts& counts) {
  return {{"target", TargetName(*target.job, *target.target)},
          {"compared", counts.compared},
          {"hashed_files", counts.hashed},
          {"hashed_bytes", counts.hashed_bytes},
          {"differences", counts.differences},
          {"repaired", counts.repaired},
          {"pending", counts.pending},
          {"changing", counts.changing},
          {"links_left_out", counts.links_left_out}};
}

absl::Status VerifyTarget(const ChosenTarget& chosen, const VerifyRequest& request, const std::function<bool()>& abandoned,
                          const Emit& emit) {
  // Whoever closes the target waits for us, and must not wait for a client that does not read.
  const auto given_up = [&] { return abandoned() || chosen.target->WhyStopped().has_value(); };
  replicate::VerifyOptions options;
  options.content = request.content;
  options.repair = request.repair;
  options.abandoned = abandoned;
  options.drain = [&] { return DrainEvents(*chosen.job, given_up); };
  options.differs = [&](const replicate::Difference& difference) {
    return emit({{"difference",
                  {{"target", TargetName(*chosen.job, *chosen.target)},
                   {"path", model::QuotePath(difference.path.empty() ? "." : difference.path)},
                   {"what", difference.what},
                   {"repaired", difference.repaired}}}}, given_up);
  };
  options.progress = [&](const replicate::VerifyCounts& counts) {
    return emit({{"progress", CountsJson(chosen, counts)}}, given_up);
  };
  const auto counts = chosen.target->Verify(options);
  if (!counts.ok()) return counts.status();
  emit({{"verified", CountsJson(chosen, *counts)}}, given_up);
  return absl::OkStatus();
}

}  // namespace

absl::Status DrainEvents(const Job& job, const std::function<bool()>& given_up) {
  const std::shared_ptr<watch::Watcher> watcher = job.source().watcher;
  if (watcher == nullptr) return absl::OkStatus();
  const absl::Time deadline = absl::Now() + kDrainTimeout;
  for (;;) {
    absl::Status status = watcher->Drain(kDrainStep);
    if (status.ok() || given_up() || absl::Now() >= deadline) return status;
  }
}

absl::Status RunVerification(const Jobs& jobs, const VerifyRequest& request, const std::function<bool()>& abandoned,
                             const Emit& emit) {
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
