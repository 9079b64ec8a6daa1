#include "daemon/job.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "model/failure.h"

namespace fanmirror::daemon {
namespace {

std::vector<std::unique_ptr<Target>> MakeTargets(const config::Job& config) {
  std::vector<std::unique_ptr<Target>> targets;
  for (const config::Target& target : config.targets) targets.push_back(std::make_unique<Target>(target));
  return targets;
}

}  // namespace

Job::Job(const config::Job& job_config) : config(job_config), targets(MakeTargets(job_config)) {}

Job::SourceView Job::source() const {
  std::lock_guard lock(mutex_);
  return source_;
}

void Job::SetSource(SourceView source) {
  std::lock_guard lock(mutex_);
  source_ = std::move(source);
}

void Job::SourceClosed() {
  std::lock_guard lock(mutex_);
  source_.watcher = nullptr;
}

absl::StatusOr<std::vector<ChosenTarget>> ChooseTargets(const Jobs& jobs, const TargetChoice& choice) {
  std::vector<ChosenTarget> chosen;
  std::vector<std::string> known;
  bool job_known = choice.job.empty();
  for (const auto& job : jobs) {
    job_known = job_known || job->config.name == choice.job;
    for (const auto& target : job->targets) {
      known.push_back(TargetName(*job, *target));
      const bool wanted = (choice.job.empty() || job->config.name == choice.job) &&
                          (choice.target.empty() || target->config.name == choice.target);
      if (wanted) chosen.push_back({job.get(), target.get()});
    }
  }
  if (!chosen.empty()) return chosen;
  const auto refusal = [](const std::string& line) { return model::Failure(model::Reaction::kHaltJob, line); };
  const std::string there = known.empty() ? "there is none" : "there are: " + absl::StrJoin(known, ", ");
  if (!job_known) return refusal(absl::StrCat("no job ", model::QuotePath(choice.job), "; ", there));
  if (choice.target.empty()) return refusal("no target is configured; " + there);
  return refusal(absl::StrCat("no target ", model::QuotePath(choice.target), "; ", there));
}

std::string TargetName(const Job& job, const Target& target) {
  return absl::StrCat(job.config.name, "/", target.config.name);
}

}  // namespace fanmirror::daemon
