#include "daemon/job.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "model/failure.h"

namespace fanmirror::daemon {

void Target::Sample(absl::Time now) {
  if (replicator == nullptr) return;
  const replicate::Progress progress = replicator->progress();
  std::lock_guard lock(mutex_);
  meter_.Add({now, progress.acked_files, progress.acked_bytes, progress.wire_bytes_sent});
}

Rates Target::rates() const {
  std::lock_guard lock(mutex_);
  return meter_.rates();
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

std::optional<std::string> WhyStopped(const Job& job, const Target& target) {
  if (!job.error.empty()) return "did not start: " + job.error;
  if (target.replicator == nullptr) return "did not start: " + target.error;
  const replicate::Progress progress = target.replicator->progress();
  if (progress.state == replicate::State::kHalted) return "halted: " + progress.last_error;
  if (progress.state == replicate::State::kStopped) return "stopped: the daemon is ending";
  return std::nullopt;
}

std::optional<std::string> WhySourceLost(const Job& job) {
  const std::string source = absl::StrCat("source ", model::QuotePath(job.config.source));
  const std::string unmounted =
      absl::StrCat("the filesystem of ", source, " (", job.mount.type, " on ", job.mount.source,
                   ") was unmounted, or another one was mounted over it; mount it again and "
                   "restart");
  // The descriptor lives for this check only: one that stays would keep a person's umount from succeeding.
  const os::UniqueFd now(::open(job.config.source.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!now) {
    const int error = errno;
    const auto mounted = watch::IsStillMounted(job.mount);
    if (mounted.ok() && !*mounted) return unmounted;
    return absl::StrCat(source, " cannot be opened any more: ", std::strerror(error),
                        "; put it back and restart");
  }
  struct stat status {
  }, at_start{};
  if (::fstat(now.get(), &status) != 0 || ::fstat(job.tree->root_fd(), &at_start) != 0) {
    return absl::StrCat(source, " cannot be looked at: ", std::strerror(errno), "; restart when it can");
  }
  if (status.st_dev != at_start.st_dev) return unmounted;
  model::FileId id;
  if (const int error = os::IdAt(now.get(), "", &id); error != 0) {
    return absl::StrCat(source, " cannot be identified: ", std::strerror(error), "; restart when it can");
  }
  if (id != job.tree->root()) {
    return absl::StrCat(source, " is another directory than at the start; put it back, or restart");
  }
  if (!job.watcher->MarkAlive()) return unmounted;
  return std::nullopt;
}

}  // namespace fanmirror::daemon
