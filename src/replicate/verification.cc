#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "os/clock.h"
#include "replicate/replicator_impl.h"

// A verification runs on the thread of whoever asks for it, beside the planning thread, which alone corrects the catalogue.
namespace fanmirror::replicate {

using model::Failure;
using model::Reaction;

namespace {

constexpr std::chrono::milliseconds kPatience{100};
// Between two looks at what is pending: an idle target answers within a round trip.
constexpr absl::Duration kShortestPause = absl::Milliseconds(1);
constexpr absl::Duration kLongestPause = absl::Milliseconds(100);

absl::Status GivenUp() { return Failure(Reaction::kHaltJob, "the verification was given up"); }

}  // namespace

absl::StatusOr<VerifyCounts> ReplicatorImpl::Verify(const VerifyOptions& options) {
  const std::unique_lock lock(verifying_, std::try_to_lock);
  if (!lock.owns_lock()) return Failure(Reaction::kRetry, "another verification of this target is under way; wait for its end");
  if (absl::Status status = AwaitLive(options); !status.ok()) return status;
  Verifier::Host host;
  host.tree = options_.tree;
  host.selection = &selection_;
  host.inquiries = &inquiries_;
  host.settle = [&] { return SettleAll(options); };
  host.pending = [this](const model::Change& change) {
    const auto entry = pending_->Find(change);
    if (entry.ok() && !entry->has_value()) return Verifier::Pending::kNothing;
    return entry.ok() && (*entry)->attempts > 0 ? Verifier::Pending::kFailure : Verifier::Pending::kChange;
  };
  host.repair = [&](std::vector<Repair> repairs) { return RepairPlaces(std::move(repairs), options); };
  auto counts = Verifier(std::move(host), &options).Run();
  if (counts.ok() && options.audit) {
    const std::lock_guard guard(mutex_);
    audit_passed_ = counts->differences;
  }
  return counts;
}

// Until a scan is through everything may differ, and is known to.
absl::Status ReplicatorImpl::AwaitLive(const VerifyOptions& options) {
  for (;; absl::SleepFor(kLongestPause)) {
    if (absl::Status status = RefuseUnlessComing(); !status.ok()) return status;
    {
      const std::lock_guard lock(mutex_);
      if (progress_.state == State::kLive) return absl::OkStatus();
    }
    if (options.abandoned() || !options.progress({})) return GivenUp();
  }
}

// A target that is away, or waits for a person, is not waited for.
absl::Status ReplicatorImpl::RefuseUnlessComing() const {
  const std::lock_guard lock(mutex_);
  const bool coming = progress_.state == State::kLive || progress_.state == State::kSyncing ||
                      (progress_.state == State::kConnecting && progress_.last_error.empty());
  if (coming) return absl::OkStatus();
  return Failure(Reaction::kRetry, absl::StrCat("the target is ", std::string(StateName(progress_.state)), ", not live",
                                                progress_.last_error.empty() ? "" : ": ", progress_.last_error));
}

absl::Status ReplicatorImpl::SettleAll(const VerifyOptions& options) {
  if (absl::Status status = options.drain(); !status.ok()) return status;
  const std::uint64_t mark = Mark();
  for (absl::Duration pause = kShortestPause;; pause = std::min(2 * pause, kLongestPause)) {
    if (options.abandoned()) return GivenUp();
    if (absl::Status status = RefuseUnlessComing(); !status.ok()) return status;
    const absl::Time before = absl::Now();
    if (pending_->OnlyFailing(mark)) return absl::OkStatus();
    // It looks at all that fails: that shall not be what the store does most of the time.
    absl::SleepFor(std::max(pause, 10 * (absl::Now() - before)));
  }
}

absl::Status ReplicatorImpl::RepairPlaces(std::vector<Repair> repairs, const VerifyOptions& options) {
  {
    const std::lock_guard lock(mutex_);
    repairs_ = std::move(repairs);
    repair_outcome_.reset();
  }
  Wake();
  std::unique_lock lock(mutex_);
  while (!repair_outcome_) {
    if (repaired_.wait_for(lock, kPatience) == std::cv_status::no_timeout || repair_outcome_) continue;
    lock.unlock();
    const bool abandoned = options.abandoned();
    lock.lock();
    const bool over = progress_.state == State::kHalted || progress_.state == State::kStopped;
    if (!(abandoned || over) || repair_outcome_) continue;
    repairs_.clear();
    return GivenUp();
  }
  return *repair_outcome_;
}

void ReplicatorImpl::AskInquiries() {
  for (Question& question : inquiries_.TakeQuestions()) session_->Ask(std::move(question));
}

bool ReplicatorImpl::RepairsWait() {
  const std::lock_guard lock(mutex_);
  return !repairs_.empty();
}

// Noted means: in the pending set, so that whoever waits for all that is pending waits for the repair.
absl::Status ReplicatorImpl::LearnRepairs() {
  std::vector<Repair> repairs;
  {
    const std::lock_guard lock(mutex_);
    repairs = std::exchange(repairs_, {});
  }
  if (repairs.empty()) return absl::OkStatus();
  Learner learner = MakeLearner();
  std::map<std::string, bool> places;
  absl::Status status;
  for (const Repair& repair : repairs) {
    absl::StatusOr<bool> doubted = false;
    if (repair.kind != Repair::Kind::kPlace) doubted = learner.DoubtNode(repair.path, repair.kind == Repair::Kind::kContent);
    if (!doubted.ok()) status = doubted.status();
    if (!status.ok()) break;
    if (!*doubted) places[repair.path] = false;
  }
  if (status.ok()) status = learner.LearnPlaces(places);
  {
    const std::lock_guard lock(mutex_);
    repair_outcome_ = status;
  }
  repaired_.notify_all();
  return status;
}

void ReplicatorImpl::Audit() {
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = std::exchange(audit_passed_, std::nullopt)) auditor_.Passed(*found);
  }
  // Until a scan is through it finds the same; and of what is under way only `expected_` knows.
  if (!ready_ || drain_ || state_ != State::kLive) return;
  const std::vector<model::Change> changes = auditor_.Step(os::BoottimeNs());
  if (changes.empty()) return;
  Log(Severity::kInfo, absl::StrCat("the audit looks again at ", changes.size(), " places of which no event told"));
  Changed(changes);
}

void ReplicatorImpl::FailVerification(const absl::Status& why) {
  inquiries_.Fail(why);
  {
    const std::lock_guard lock(mutex_);
    if (repairs_.empty()) return;
    repairs_.clear();
    repair_outcome_ = why;
  }
  repaired_.notify_all();
}

}  // namespace fanmirror::replicate
