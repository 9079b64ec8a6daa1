#include "daemon/daemon.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "model/failure.h"

namespace fanmirror::daemon {

Daemon::Daemon(config::Config config, StateLock lock, LogSink log)
    : config_(std::move(config)),
      lock_(std::move(lock)),
      log_(std::move(log)),
      kept_watches_(&service_, config_.bounded_queue ? watch::QueueBound::kSystem : watch::QueueBound::kUnlimited, log_),
      started_(absl::Now()),
      watchers_(&kept_watches_) {}

absl::StatusOr<std::unique_ptr<Daemon>> Daemon::Start(config::Config config, LogSink log) {
  auto lock = StateLock::Take(config.state_dir);
  if (!lock.ok()) return lock.status();
  std::unique_ptr<Daemon> daemon(new Daemon(std::move(config), *std::move(lock), std::move(log)));

  daemon->StartJobs();
  Daemon* self = daemon.get();
  daemon->supervisor_ = std::make_unique<Supervisor>(
      &daemon->jobs_, &daemon->service_, daemon->log_, /*mounts_changed=*/[self] {
        for (const auto& runner : self->runners_) runner->Look();
      });
  ControlHandlers handlers;
  handlers.status = [self] { return self->Status(); };
  handlers.wait = [self](const BarrierRequest& request, const std::function<bool()>& abandoned) {
    return self->Wait(request, abandoned);
  };
  handlers.approve = [self](const TargetChoice& choice) { return self->Approve(choice); };
  handlers.adopt = [self](const TargetChoice& choice) { return self->Adopt(choice); };
  handlers.verify = [self](const VerifyRequest& request, const std::function<bool()>& abandoned,
                           const Emit& emit) {
    return RunVerification(self->jobs_, request, abandoned, emit);
  };
  auto control = ControlServer::Start(daemon->config_.control_socket, std::move(handlers));
  if (!control.ok()) return control.status();
  daemon->control_ = *std::move(control);
  return daemon;
}

void Daemon::StartJobs() {
  for (const config::Job& config : config_.jobs) jobs_.push_back(std::make_unique<Job>(config));
  for (const auto& job : jobs_) {
    runners_.push_back(std::make_unique<JobRunner>(job.get(), config_.state_dir, &watchers_, log_));
  }
  const absl::Time deadline = absl::Now() + kStartPatience;
  for (const auto& runner : runners_) runner->WaitUntilTried(deadline);
  watchers_.BeginReading();
  for (const auto& job : jobs_) {
    const bool audited = job->config.audit_content && job->config.audit > absl::ZeroDuration();
    if (audited) audits_.push_back(std::make_unique<ContentAudit>(job.get(), log_));
  }
}

absl::Status Daemon::Approve(const TargetChoice& choice) {
  const auto chosen = ChooseTargets(jobs_, choice);
  if (!chosen.ok()) return chosen.status();
  for (const ChosenTarget& one : *chosen) {
    if (one.target->Approve()) continue;
    return model::Failure(model::Reaction::kHaltJob, absl::StrCat(TargetName(*one.job, *one.target), " does not run: ",
                                                                  one.target->WhyStopped().value_or("try again")));
  }
  return absl::OkStatus();
}

absl::Status Daemon::Adopt(const TargetChoice& choice) {
  const auto chosen = ChooseTargets(jobs_, choice);
  if (!chosen.ok()) return chosen.status();
  for (const ChosenTarget& one : *chosen) {
    for (std::size_t i = 0; i < jobs_.size(); ++i) {
      if (jobs_[i].get() != one.job) continue;
      if (absl::Status status = runners_[i]->Adopt(one.target); !status.ok()) return status;
    }
  }
  return absl::OkStatus();
}

void Daemon::Stop() {
  control_.reset();
  audits_.clear();
  supervisor_.reset();
  // First, so that all that was told is noted, and what comes from now on stays for the next process.
  watchers_.EndReading();
  // Together, since each may wait for its receivers' last answers.
  for (const auto& runner : runners_) runner->BeginStop();
  runners_.clear();
}

Daemon::~Daemon() { Stop(); }

}  // namespace fanmirror::daemon
