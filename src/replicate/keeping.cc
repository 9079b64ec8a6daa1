#include <algorithm>
#include <utility>

#include "os/clock.h"
#include "plan/planner.h"
#include "replicate/replicator_impl.h"

namespace fanmirror::replicate {

using catalogue::PendingSet;
using model::Reaction;

namespace {

// While there is no room for our own state.
constexpr std::int64_t kFirstKeepPauseNs = 1'000'000'000;
constexpr std::int64_t kLastKeepPauseNs = 30'000'000'000;
constexpr int kKeepDoublings = 5;

}  // namespace

// What passes by itself when somebody makes room is waited for; all else needs the store to be opened anew.
void ReplicatorImpl::OnStoreFailure(const absl::Status& status) {
  if (model::ReactionOf(status) != Reaction::kRetry) {
    HaltBy(HaltCause::kStore, status);
    return;
  }
  if (shortage_.empty()) Log(Severity::kError, std::string(status.message()) + "; waiting for room");
  shortage_ = std::string(status.message());
  keep_at_ns_ = os::BoottimeNs() + std::min(kLastKeepPauseNs, kFirstKeepPauseNs << std::min(shortages_, kKeepDoublings));
  ++shortages_;
}

// Writes what waits to be written. False: there is no room yet, nothing new may be begun.
bool ReplicatorImpl::KeepState() {
  const bool short_of_room = !shortage_.empty();
  if (short_of_room && os::BoottimeNs() < keep_at_ns_) return false;
  absl::Status status = ReleaseGivenBack();
  if (status.ok()) status = NoteScanForLost();
  if (status.ok()) status = KeepGuard();
  if (status.ok() && (short_of_room || CommitDue())) status = Commit();
  if (!status.ok()) {
    OnStoreFailure(status);
    return false;
  }
  if (!SendOutbox()) return false;
  if (short_of_room) Log(Severity::kInfo, "there is room again for the state of this target");
  shortage_.clear();
  shortages_ = 0;
  return true;
}

absl::Status ReplicatorImpl::ReleaseGivenBack() {
  if (given_back_.empty()) return absl::OkStatus();
  absl::Status status = pending_->Release(given_back_);
  if (status.ok()) given_back_.clear();
  return status;
}

// As old as the oldest of what was lost: no barrier falls before the scan is through.
absl::Status ReplicatorImpl::NoteScanForLost() {
  std::optional<std::uint64_t> since;
  {
    std::lock_guard lock(mutex_);
    since = lost_since_;
  }
  if (!since) return absl::OkStatus();
  const std::int64_t now = os::BoottimeNs();
  const PendingSet::Retry scan =
      AsOldAs({std::max<std::uint64_t>(1, *since), now},
              {.change = plan::TreeChange(options_.tree->root()), .due_ns = now, .failed = false, .error = ""});
  if (absl::Status status = pending_->Settle({}, {scan}); !status.ok()) return status;
  std::lock_guard lock(mutex_);
  lost_since_.reset();
  return absl::OkStatus();
}

// On the thread that told of the changes.
void ReplicatorImpl::OnChangesLost(const absl::Status& status) {
  bool first = false;
  {
    std::lock_guard lock(mutex_);
    first = !lost_since_.has_value();
    if (first) lost_since_ = pending_->LastSequence();
  }
  // Once this process is gone nobody knows of them, unless the next one scans.
  if (options_.memory.set_incomplete) options_.memory.set_incomplete(token_);
  if (first) Log(Severity::kError, std::string(status.message()) + "; changes were not noted, the source will be scanned");
  Wake();
}

// What a batch may touch is noted before it goes. False: it could not be.
bool ReplicatorImpl::SendOutbox() {
  while (!outbox_.empty()) {
    if (const absl::Status status = RecordIntent(*outbox_.front()); !status.ok()) {
      OnStoreFailure(status);
      return false;
    }
    if (under_way_++ == 0) moved_ns_ = os::BoottimeNs();
    session_->Send(std::move(outbox_.front()));
    outbox_.pop_front();
  }
  return true;
}

}  // namespace fanmirror::replicate
