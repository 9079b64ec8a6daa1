#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "os/clock.h"
#include "plan/entry_counter.h"
#include "replicate/replicator_impl.h"

namespace fanmirror::replicate {

using catalogue::Catalogue;
using catalogue::PendingSet;
using model::Change;

namespace {

// Held entries that are read or written at once: some MB.
constexpr std::size_t kHeldStep = 10'000;
// While a person is waited for, what is held is counted no more often: it is looked up entry by entry.
constexpr std::int64_t kRecountNs = 30'000'000'000;
// An approval ends once nothing more is due within that time: what failed of it has been tried again by then.
constexpr std::int64_t kApprovalNs = 10'000'000'000;

}  // namespace

plan::DeleteGuard::Situation ReplicatorImpl::GuardSituation() const {
  return {.now_ns = os::BoottimeNs(),
          .entries = catalogue_->nodes(),
          .backlog = pending_->Size(),
          .scanning = scanner_.Walks(options_.tree->root())};
}

// nullopt for what was pending when a person approved of it.
std::optional<std::uint64_t> ReplicatorImpl::DeletesAllowed(bool approved) {
  if (approved) return std::nullopt;
  return guard_.Allowance(GuardSituation());
}

bool ReplicatorImpl::IsApproved(const PendingSet::Entry& entry) const {
  return entry.first_sequence <= approved_through_;
}

// One entry of the pending set for each name that is held: it keeps the barrier up, finds by itself that the name is back,
// and survives the process; after a reboot the scan finds all of them anew.
void ReplicatorImpl::HoldBack(const std::vector<Change>& held, const Since& since) {
  if (held.empty()) return;
  const std::int64_t now = os::BoottimeNs();
  for (const Change& change : held) {
    Retry({.change = change, .due_ns = PendingSet::kHeldNs, .failed = false, .error = ""}, since);
  }
  guard_.HeldBack(now);
}

absl::StatusOr<std::uint64_t> ReplicatorImpl::CountHeld() const {
  plan::EntryCounter counter(&expected_);
  std::optional<Change> last;
  for (;;) {
    const auto held = pending_->Held(last, kHeldStep);
    if (!held.ok()) return held.status();
    for (const Change& change : *held) counter.AddHeld(change);
    if (held->size() < kHeldStep) return counter.count();
    last = held->back();
  }
}

// False once all that was held has come back to the source.
bool ReplicatorImpl::HoldsAny() const {
  const auto held = pending_->Held(std::nullopt, 1);
  return !held.ok() || !held->empty();
}

absl::Status ReplicatorImpl::ReleaseHeld() {
  const std::int64_t now = os::BoottimeNs();
  for (;;) {
    const auto released = pending_->ReleaseHeld(now, kHeldStep);
    if (!released.ok()) return released.status();
    if (*released < kHeldStep) return absl::OkStatus();
  }
}

absl::Status ReplicatorImpl::KeepHeldOf() {
  Catalogue::Header header = catalogue_->header();
  if (header.held_of == guard_.held_of()) return absl::OkStatus();
  header.held_of = guard_.held_of();
  return catalogue_->SetHeader(header);
}

// All that was due when deletes were first held back has been looked at, so all of them are known.
bool ReplicatorImpl::AllIsLookedAt() const {
  if (!ready_ || !taken_.empty() || !outbox_.empty() || AnythingToCommit() || scanner_.Walks(options_.tree->root())) {
    return false;
  }
  const std::int64_t until = guard_.undecided_since_ns() + absl::ToInt64Nanoseconds(options_.max_delay);
  return pending_->NextDue().value_or(PendingSet::kHeldNs) > until;
}

void ReplicatorImpl::GuardDeletes() {
  const std::int64_t now = os::BoottimeNs();
  if (approved_through_ != 0 && AllIsLookedAt() && under_way_ == 0 &&
      pending_->NextDue().value_or(PendingSet::kHeldNs) > now + kApprovalNs) {
    approved_through_ = 0;
  }
  if ((!guard_.undecided() && !guard_.holding()) || !AllIsLookedAt()) return;
  if (guard_.holding() && now < recount_ns_ && HoldsAny()) return;
  const auto count = CountHeld();
  absl::Status status = count.status();
  if (status.ok()) {
    const bool was_holding = guard_.holding();
    const bool hold = guard_.Decide(GuardSituation(), *count) == plan::DeleteGuard::Verdict::kHold;
    held_ = hold ? *count : 0;
    recount_ns_ = now + kRecountNs;
    if (hold && !was_holding) Log(Severity::kWarning, HoldingText());
    status = KeepHeldOf();
    if (status.ok() && !hold) status = ReleaseHeld();
  }
  if (!status.ok()) OnStoreFailure(status);
  Wake();
}

void ReplicatorImpl::TakeApproval() {
  {
    std::lock_guard lock(mutex_);
    if (!std::exchange(approve_request_, false)) return;
  }
  if (!guard_.Approve()) return;
  Log(Severity::kInfo, absl::StrCat("approved: ", held_, " deletes that were held back go through"));
  held_ = 0;
  approved_through_ = pending_->LastSequence();
  release_held_ = true;
}

// What is not approved any more, and what was held when an earlier run ended, is looked at anew.
absl::Status ReplicatorImpl::KeepGuard() {
  if (absl::Status status = KeepHeldOf(); !status.ok() || !release_held_) return status;
  if (absl::Status status = ReleaseHeld(); !status.ok()) return status;
  release_held_ = false;
  if (guard_.holding()) guard_.HeldBack(os::BoottimeNs());  // the scan of this start may find that nothing is
  return absl::OkStatus();
}

std::string ReplicatorImpl::HoldingText() const {
  return absl::StrCat("holding back ", held_, " deletes of ", guard_.held_of(),
                      " entries, more than max_delete allows at once; see that the source is as it should be, then: "
                      "fanmirror approve ",
                      options_.job);
}

}  // namespace fanmirror::replicate
