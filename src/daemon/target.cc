#include "daemon/target.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "model/failure.h"

namespace fanmirror::daemon {
namespace {

using replicate::Progress;

void AddCounters(const Progress& from, Progress* to) {
  to->acked_files += from.acked_files;
  to->acked_bytes += from.acked_bytes;
  to->acked_ops += from.acked_ops;
  to->failed_ops += from.failed_ops;
  to->batches += from.batches;
  to->wire_bytes_sent += from.wire_bytes_sent;
  to->wire_bytes_received += from.wire_bytes_received;
  to->scans += from.scans;
  to->scanned += from.scanned;
  to->listed += from.listed;
  to->checked_files += from.checked_files;
  to->audits += from.audits;
  to->audit_found += from.audit_found;
}

}  // namespace

std::string_view HoldName(Hold hold) {
  switch (hold) {
    case Hold::kNone:
      return "running";
    case Hold::kStarting:
      return "starting";
    case Hold::kPausing:
      return "pausing";
    case Hold::kPaused:
      return "paused";
    case Hold::kNeedsAdoption:
      return "needs-adoption";
    case Hold::kFailed:
      return "failed";
    case Hold::kStopped:
      return "stopped";
  }
  return "unknown";
}

Progress Target::ProgressLocked() const {
  if (replicator_ == nullptr) {
    Progress progress = closed_;
    // What was not proved then is not proved now.
    if (progress.pending > 0) progress.lag_seconds += absl::ToDoubleSeconds(absl::Now() - closed_at_);
    return progress;
  }
  Progress progress = replicator_->progress();
  AddCounters(closed_, &progress);
  return progress;
}

Target::Status Target::status() const {
  std::lock_guard lock(mutex_);
  Status status{"", ProgressLocked()};
  if (hold_ == Hold::kNone) {
    status.state = std::string(replicate::StateName(status.progress.state));
  } else {
    status.state = std::string(HoldName(hold_));
    status.progress.last_error = why_;
  }
  return status;
}

std::optional<std::string> Target::WhyStopped() const {
  std::lock_guard lock(mutex_);
  if (hold_ != Hold::kNone) return absl::StrCat(std::string(HoldName(hold_)), ": ", why_);
  const Progress progress = replicator_->progress();
  if (progress.state == replicate::State::kHalted) return "halted: " + progress.last_error;
  return std::nullopt;
}

Rates Target::rates() const {
  std::lock_guard lock(mutex_);
  return meter_.rates();
}

std::string Target::earlier_error() const {
  std::lock_guard lock(mutex_);
  return earlier_error_;
}

std::optional<Target::Mark> Target::TakeMark() const {
  std::lock_guard lock(mutex_);
  if (hold_ != Hold::kNone) return std::nullopt;
  return Mark{openings_, replicator_->Mark()};
}

Target::Reach Target::Reached(const Mark& mark) const {
  std::lock_guard lock(mutex_);
  if (hold_ != Hold::kNone) return Reach::kNotYet;
  if (openings_ != mark.opening) return Reach::kReopened;
  return replicator_->Reached(mark.sequence) ? Reach::kReached : Reach::kNotYet;
}

bool Target::Approve() const {
  std::lock_guard lock(mutex_);
  if (hold_ != Hold::kNone) return false;
  replicator_->Approve();
  return true;
}

absl::StatusOr<replicate::VerifyCounts> Target::Verify(const replicate::VerifyOptions& options) {
  replicate::Replicator* replicator = nullptr;
  {
    std::lock_guard lock(mutex_);
    if (hold_ != Hold::kNone) {
      return model::Failure(model::Reaction::kRetry, absl::StrCat("the target is ", std::string(HoldName(hold_)), ": ", why_));
    }
    replicator = replicator_.get();
    ++verifying_;
  }
  replicate::VerifyOptions until_closed = options;
  until_closed.abandoned = [this, &options] {
    std::lock_guard lock(mutex_);
    return hold_ != Hold::kNone || options.abandoned();
  };
  auto counts = replicator->Verify(until_closed);
  std::lock_guard lock(mutex_);
  --verifying_;
  verified_.notify_all();
  if (hold_ == Hold::kNone || counts.ok()) return counts;
  return model::Failure(model::Reaction::kRetry,
                        absl::StrCat("given up, because the target became ", std::string(HoldName(hold_)), ": ", why_));
}

void Target::Sample(absl::Time now) {
  std::lock_guard lock(mutex_);
  const Progress progress = ProgressLocked();
  meter_.Add({now, progress.acked_files, progress.acked_bytes, progress.wire_bytes_sent});
}

void Target::SetHold(Hold hold, std::string why) {
  std::lock_guard lock(mutex_);
  hold_ = hold;
  why_ = std::move(why);
}

void Target::Run(std::unique_ptr<replicate::Replicator> replicator) {
  std::lock_guard lock(mutex_);
  replicator_ = std::move(replicator);
  hold_ = Hold::kNone;
  why_.clear();
  if (++openings_ == 1) earlier_error_ = replicator_->progress().last_error;
}

void Target::Close() {
  if (replicator_ == nullptr) return;
  replicator_->Stop();  // its last figures may still be asked for
  std::unique_ptr<replicate::Replicator> closing;
  {
    std::unique_lock lock(mutex_);
    closed_ = ProgressLocked();
    closed_at_ = absl::Now();
    closing = std::move(replicator_);
    verified_.wait(lock, [this] { return verifying_ == 0; });
  }
}

}  // namespace fanmirror::daemon
