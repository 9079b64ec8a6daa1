#include "daemon/job_runner.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "daemon/opening.h"
#include "daemon/private_directory.h"
#include "model/failure.h"

namespace fanmirror::daemon {

using replicate::Fit;

JobRunner::JobRunner(Job* job, std::string state_dir, Watchers* watchers, LogSink log)
    : job_(job),
      state_dir_(std::move(state_dir)),
      watchers_(watchers),
      log_(std::move(log)),
      attempts_(job->targets.size()),
      thread_([this] { Run(); }) {}

JobRunner::~JobRunner() { Stop(); }

void JobRunner::BeginStop() {
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wakeup_.notify_all();
}

void JobRunner::Stop() {
  BeginStop();
  if (thread_.joinable()) thread_.join();
}

void JobRunner::Look() {
  {
    std::lock_guard lock(mutex_);
    look_ = true;
  }
  wakeup_.notify_all();
}

void JobRunner::WaitUntilTried(absl::Time deadline) {
  std::unique_lock lock(mutex_);
  wakeup_.wait_until(lock, absl::ToChronoTime(deadline), [this] { return tried_; });
}

absl::Status JobRunner::Adopt(Target* target) {
  std::future<absl::Status> result;
  {
    std::lock_guard lock(mutex_);
    Wish& wish = wishes_.emplace_back();
    const auto is_it = [target](const std::unique_ptr<Target>& one) { return one.get() == target; };
    wish.target = std::find_if(job_->targets.begin(), job_->targets.end(), is_it) - job_->targets.begin();
    result = wish.result.get_future();
  }
  wakeup_.notify_all();
  if (result.wait_for(absl::ToChronoMilliseconds(kPatience)) == std::future_status::ready) return result.get();
  return model::Failure(model::Reaction::kRetry, "the job does not answer; see its state, and try again");
}

void JobRunner::Run() {
  for (;;) {
    {
      std::lock_guard lock(mutex_);
      if (ending_) break;
      look_ = false;
    }
    Tend();
    {
      std::lock_guard lock(mutex_);
      tried_ = true;
    }
    wakeup_.notify_all();
    WaitForWork();
  }
  HoldAll(Hold::kStopped, "the daemon is ending");
  CloseSource();
  for (Wish& wish : TakeWishes()) {
    wish.result.set_value(model::Failure(model::Reaction::kRetry, "the daemon is ending"));
  }
}

void JobRunner::WaitForWork() {
  const absl::Time now = absl::Now();
  absl::Time until = now + kLookInterval;
  for (const Attempts& attempts : attempts_) {
    if (attempts.next) until = std::min(until, *attempts.next);
  }
  std::unique_lock lock(mutex_);
  wakeup_.wait_for(lock, absl::ToChronoNanoseconds(std::max(until - now, absl::ZeroDuration())),
                   [this] { return ending_ || look_ || !wishes_.empty(); });
}

std::vector<JobRunner::Wish> JobRunner::TakeWishes() {
  std::lock_guard lock(mutex_);
  return std::exchange(wishes_, {});
}

void JobRunner::Tend() {
  if (source_ != nullptr) {
    if (const auto why = source_->WhyLost()) {
      HoldAll(Hold::kPausing, *why);
      CloseSource();
      HoldAll(Hold::kPaused, *why);
    }
  }
  std::vector<Wish> wishes = TakeWishes();
  if (source_ == nullptr) OpenSource(/*forced=*/!wishes.empty());
  Grant(&wishes);
  if (source_ != nullptr) TendTargets();
  // Only now, so that whoever then waits for a barrier finds the target running.
  for (Wish& wish : wishes) wish.result.set_value(absl::OkStatus());
}

void JobRunner::TendTargets() {
  for (std::size_t i = 0; i < job_->targets.size(); ++i) TendTarget(i);
  const bool none_fits = std::all_of(job_->targets.begin(), job_->targets.end(), [](const auto& target) {
    return target->hold() == Hold::kNeedsAdoption || target->hold() == Hold::kPaused;
  });
  if (!none_fits) return;
  // Nothing of ours holds what is not ours to mirror.
  foreign_ = sight_;
  CloseSource();
}

void JobRunner::OpenSource(bool forced) {
  sight_ = LookAtSource(job_->config.source);
  if (!forced && foreign_ == sight_) return;
  foreign_.reset();
  auto source = Source::Open(job_->config, state_dir_);
  if (!source.ok()) {
    HoldAll(Hold::kPaused, absl::StrCat(std::string(source.status().message()), "; goes on once the source is there"));
    return;
  }
  source_ = *std::move(source);
  job_->SetSource({source_->mount(), source_->selection(), nullptr});
}

void JobRunner::CloseSource() {
  if (source_ == nullptr) return;
  job_->SourceClosed();
  // Together, since each may wait for its receiver's last answer.
  std::vector<std::thread> threads;
  for (const auto& target : job_->targets) {
    if (target->replicator() == nullptr) continue;
    source_->fanout()->Remove(target->replicator());
    threads.emplace_back([&target] { target->Close(); });
  }
  for (std::thread& thread : threads) thread.join();
  source_.reset();
  for (Attempts& attempts : attempts_) attempts = {};
}

void JobRunner::TendTarget(std::size_t index) {
  Target& target = *job_->targets[index];
  Attempts& attempts = attempts_[index];
  if (target.replicator() != nullptr) {
    const replicate::State state = target.replicator()->progress().state;
    if (state == replicate::State::kLive) attempts = {};
    if (state != replicate::State::kHalted) return;
    // Its own state failed: opened anew, what is damaged is found and rebuilt.
    if (!attempts.next) attempts.next = absl::Now() + NextRetry(&attempts);
    if (absl::Now() < *attempts.next) return;
    target.SetHold(Hold::kFailed, target.status().progress.last_error);
    source_->fanout()->Remove(target.replicator());
    target.Close();
  }
  if (attempts.next && absl::Now() < *attempts.next) return;
  attempts.next.reset();
  if (absl::Status status = OpenTarget(index); !status.ok()) {
    HoldBack(&target, Hold::kFailed, std::string(status.message()));
    attempts.next = absl::Now() + NextRetry(&attempts);
  }
}

absl::Status JobRunner::OpenTarget(std::size_t index) {
  Target& target = *job_->targets[index];
  const auto fit = replicate::FitOf(StateDirOf(target), identity());
  if (!fit.ok()) return fit.status();
  if (*fit == Fit::kAnother || (*fit == Fit::kNew && AnyIsOfAnotherSource())) {
    HoldForeign(&target);
    return absl::OkStatus();
  }
  if (absl::Status watched = source_->Watch(watchers_, log_); !watched.ok()) return watched;
  job_->SetSource({source_->mount(), source_->selection(), source_->watcher()});
  if (absl::Status made = MakePrivateDirectory(state_dir_ + "/" + job_->config.name); !made.ok()) return made;
  auto replicator = replicate::Replicator::Open(OptionsOf(*job_, target, *source_, StateDirOf(target), log_));
  if (!replicator.ok()) return replicator.status();
  // Changes are noted before the scan begins or, with a watch that was taken over, before its first event is told; and the
  // scan is pending before anybody can take a mark.
  source_->fanout()->Add(replicator->get());
  (*replicator)->Start();
  if (target.hold() != Hold::kStarting) log_(Severity::kInfo, absl::StrCat(TargetName(*job_, target), ": goes on"));
  target.Run(*std::move(replicator));
  return absl::OkStatus();
}

// Answers those that cannot be granted, and leaves the others.
void JobRunner::Grant(std::vector<Wish>* wishes) {
  std::erase_if(*wishes, [this](Wish& wish) {
    const absl::Status written = WriteWish(wish.target);
    if (!written.ok()) {
      wish.result.set_value(written);
      return true;
    }
    Target& target = *job_->targets[wish.target];
    attempts_[wish.target] = {};
    if (target.replicator() == nullptr) return false;
    target.SetHold(Hold::kStarting, "it is being adopted");
    source_->fanout()->Remove(target.replicator());
    target.Close();
    return false;
  });
}

absl::Status JobRunner::WriteWish(std::size_t index) {
  const Target& target = *job_->targets[index];
  const std::string name = TargetName(*job_, target);
  if (source_ == nullptr) {
    return model::Failure(model::Reaction::kRetry,
                          absl::StrCat(name, " cannot be adopted while its source is not there: ", target.why()));
  }
  const auto fit = replicate::FitOf(StateDirOf(target), identity());
  const auto empty = source_->IsEmpty();
  if (!empty.ok()) return empty.status();
  if (*empty && fit.ok() && *fit == Fit::kAnother) {
    return model::Failure(model::Reaction::kRetry,
                          absl::StrCat(name, ": the directory at ", model::QuotePath(job_->config.source),
                                       " is empty; is its filesystem mounted? an empty one is not adopted, put a file there"));
  }
  if (absl::Status made = MakePrivateDirectory(StateDirOf(target)); !made.ok()) return made;
  log_(Severity::kInfo, name + ": adopts what is there now");
  return replicate::WriteAdoption(StateDirOf(target), identity());
}

void JobRunner::HoldForeign(Target* target) {
  const auto empty = source_->IsEmpty();
  const std::string source = absl::StrCat("source ", model::QuotePath(job_->config.source));
  if (empty.ok() && *empty) {
    HoldBack(target, Hold::kPaused,
             absl::StrCat(source, " is another directory than the one that was mirrored, and empty: is its filesystem ",
                          "not mounted? goes on once it is"));
    return;
  }
  HoldBack(target, Hold::kNeedsAdoption,
           absl::StrCat(source, " lies on ", source_->mount().type, " ", source_->mount().filesystem,
                        " and is not what was mirrored: mount the right filesystem, or have what is there mirrored with ",
                        "fanmirror adopt ", job_->config.name));
}

bool JobRunner::AnyIsOfAnotherSource() const {
  return std::any_of(job_->targets.begin(), job_->targets.end(), [this](const auto& target) {
    const auto fit = replicate::FitOf(StateDirOf(*target), identity());
    return fit.ok() && *fit == Fit::kAnother;
  });
}

std::string JobRunner::StateDirOf(const Target& target) const {
  return absl::StrCat(state_dir_, "/", TargetName(*job_, target));
}

void JobRunner::HoldBack(Target* target, Hold hold, const std::string& why) {
  if (target->hold() != hold || target->why() != why) {
    log_(Severity::kError, absl::StrCat(TargetName(*job_, *target), ": ", std::string(HoldName(hold)), ": ", why));
  }
  target->SetHold(hold, why);
}

void JobRunner::HoldAll(Hold hold, const std::string& why) {
  if (hold != Hold::kStopped && hold != Hold::kPausing && (job_->targets.front()->hold() != hold || job_->targets.front()->why() != why)) {
    log_(Severity::kError, absl::StrCat("job ", job_->config.name, ": ", std::string(HoldName(hold)), ": ", why));
  }
  for (const auto& target : job_->targets) target->SetHold(hold, why);
}

absl::Duration JobRunner::NextRetry(Attempts* attempts) const {
  const int doublings = std::min(attempts->failures++, 10);
  return std::min(kFirstRetry * (1 << doublings), kLastRetry);
}

}  // namespace fanmirror::daemon
