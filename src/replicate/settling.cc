#include <algorithm>
#include <utility>

#include "os/clock.h"
#include "plan/paths.h"
#include "replicate/back_off.h"
#include "replicate/replicator_impl.h"

namespace fanmirror::replicate {

using catalogue::Effect;
using catalogue::PendingSet;
using model::Change;
using model::NodeType;
using model::Op;
using model::Reaction;

namespace {

constexpr std::size_t kCommitEffects = 20'000;  // some MB of one transaction

}  // namespace

void ReplicatorImpl::OnAcknowledged(std::unique_ptr<Batch> batch) {
  --under_way_;
  reconnect_.Proved();
  moved_ns_ = os::BoottimeNs();
  std::uint64_t removed = 0;
  ++counters_.batches;
  acked_batch_ = batch->number;
  if (batch->last_of_round) acked_round_ = batch->round;
  if (acked_since_ns_ == 0) acked_since_ns_ = os::BoottimeNs();
  acked_effects_.insert(acked_effects_.end(), batch->forgotten.begin(), batch->forgotten.end());
  std::optional<Since> failed;
  for (std::size_t i = 0; i < batch->steps.size(); ++i) {
    if (batch->results[i].kind == OpResult::Kind::kApplied) {
      removed += batch->steps[i].deletes;
      TakeResult(*batch, i);
    } else {
      if (!failed) failed = FailedSince(*batch);
      TakeFailure(*batch, i, *failed);
    }
  }
  guard_.Settled(moved_ns_, batch->guarded, std::min(removed, batch->guarded));
}

void ReplicatorImpl::TakeResult(const Batch& batch, std::size_t index) {
  const plan::Step& step = batch.steps[index];
  const OpResult& result = batch.results[index];
  ++counters_.acked_ops;
  if (step.op.type == NodeType::kDirectory && step.op.kind == Op::Kind::kRename) doubts_.Renamed(step.op.from, step.op.path);
  if (step.op.type == NodeType::kDirectory && step.op.kind == Op::Kind::kExchange) doubts_.Exchanged(step.op.from, step.op.path);
  const bool made = result.content_sent || (step.op.kind == Op::Kind::kMake && step.op.type != NodeType::kDirectory);
  if (made) ++counters_.acked_files;
  if (result.content_sent) counters_.acked_bytes += result.record.metadata.size;
  std::vector<Effect> effects = EffectsOf(step, result);
  if (step.op.kind == Op::Kind::kMake && step.op.type == NodeType::kDirectory) DisownSecond(batch.number, step.op, &effects);
  std::move(effects.begin(), effects.end(), std::back_inserter(acked_effects_));
  // What moved while it was read was sent as it was, and is read again; all that came before the reading is proved.
  if (result.raced) LookAgain(plan::NodeChange(step.op.node), absl::ToInt64Nanoseconds(options_.settle), {});
}

// A directory was made because the one that the target had was to be removed, and that failed meanwhile: now there are two.
// The older one is the node, with what is known to be in it; the second is nobody's, and is taken away or renamed when both
// places have been listed.
void ReplicatorImpl::DisownSecond(std::uint64_t batch, const Op& op, std::vector<Effect>* effects) {
  const auto places = AckedPlacesOf(op.node);
  if (!places) return;
  for (const std::string& place : *places) doubts_.Add(batch, place, /*recursive=*/true);
  doubts_.Add(batch, op.path, /*recursive=*/true);
  drain_ = true;
  const model::FileId nobody = NewForeign();
  for (Effect& effect : *effects) {
    if (effect.id == op.node) effect.id = nobody;
  }
}

std::optional<std::vector<std::string>> ReplicatorImpl::AckedPlacesOf(const model::FileId& node) {
  if (!catalogue_->Node(node) || !Acked().Node(node)) return std::nullopt;
  std::vector<std::string> places;
  plan::Paths paths(&acked_, options_.tree->root());
  for (const model::Name& name : acked_.NamesOf(node)) {
    if (auto path = paths.OfName(name)) places.push_back(*std::move(path));
  }
  return places;
}

const catalogue::Expected& ReplicatorImpl::Acked() {
  for (; acked_applied_ < acked_effects_.size(); ++acked_applied_) acked_.Apply(/*batch=*/1, acked_effects_[acked_applied_]);
  return acked_;
}

std::vector<Effect> ReplicatorImpl::EffectsOf(const plan::Step& step, const OpResult& result) {
  std::vector<Effect> effects = step.effects;
  if (!result.read) return effects;
  for (Effect& effect : effects) {
    if (effect.kind != Effect::Kind::kSetNode) continue;
    effect.record = result.record;
    if (result.content_read || effect.record.metadata.type != NodeType::kRegular) continue;
    // Only metadata was sent: the content is what it was. If size or mtime moved since the plan, the record keeps the
    // old ones, so that the difference stays seen.
    const auto had = Acked().Node(effect.id);
    if (!had) continue;
    effect.record.content = had->content;
    effect.record.content_known = had->content_known;
    if (had->metadata.size != effect.record.metadata.size || had->metadata.mtime != effect.record.metadata.mtime) {
      effect.record.metadata.size = had->metadata.size;
      effect.record.metadata.mtime = had->metadata.mtime;
      effect.record.racy = true;
    }
  }
  return effects;
}

// Older changes may have been looked at since the batch was planned, and nothing done for them because it was under way.
ReplicatorImpl::Since ReplicatorImpl::FailedSince(const Batch& batch) const {
  Since since{batch.first_sequence, batch.first_ns};
  for (const ProofHandle& proof : proofs_) since.Include(*proof);
  return since;
}

void ReplicatorImpl::TakeFailure(const Batch& batch, std::size_t index, const Since& since) {
  const Op& op = batch.steps[index].op;
  const OpResult& result = batch.results[index];
  // Nothing builds on metadata, and that the node is gone its names tell.
  if (result.kind == OpResult::Kind::kGone && op.kind == Op::Kind::kSetMetadata) return;
  drain_ = true;
  if (op.kind == Op::Kind::kSetMetadata && op.type == NodeType::kDirectory) DoubtTimes(op.node);
  if (op.kind == Op::Kind::kLink && batch.steps[index].effects.empty()) LeaveBehind(batch.steps[index]);
  if (result.kind == OpResult::Kind::kGone) {
    for (const Change& change : op.concerns) LookAgain(change, 0, since);
    return;
  }
  if (result.kind == OpResult::Kind::kMoved) {
    for (const Change& change : op.concerns) AddRetry(change, op.path, result.status, since);
    return;
  }
  ++counters_.failed_ops;
  // All that lies in limbo is ours: if more is there than we know, we look.
  const bool unknown_in_limbo = op.kind == Op::Kind::kRemove && op.path.rfind(plan::kLimboPath, 0) == 0;
  const Reaction reaction = unknown_in_limbo ? Reaction::kLookAgain : model::ReactionOf(result.status);
  const auto severity = reaction == Reaction::kLookAgain ? Severity::kDebug : Severity::kWarning;
  Log(severity, model::QuotePath(op.path) + ": " + std::string(result.status.message()));
  // A directory appears also when its metadata could not be set.
  const bool may_be_there = op.kind == Op::Kind::kMake && op.type == NodeType::kDirectory;
  // What the receiver did not try is as it was believed to be.
  if ((reaction == Reaction::kLookAgain || may_be_there) && !result.untried) {
    const bool recursive = op.type == NodeType::kDirectory && op.kind != Op::Kind::kSetMetadata;
    doubts_.Add(batch.number, op.path, recursive);
    if (!op.from.empty()) doubts_.Add(batch.number, op.from, recursive);
  }
  const absl::Status status = unknown_in_limbo ? model::Failure(reaction, std::string(result.status.message())) : result.status;
  for (const Change& change : op.concerns) AddRetry(change, op.path, status, since);
}

// A node was put anew, and one of its other names could not follow: it has the node as it was, which is nobody's now. Unless
// it never was a name of the node on the target, because what was to make it one failed before.
void ReplicatorImpl::LeaveBehind(const plan::Step& link) {
  const Change& place = link.op.concerns.front();
  if (place.kind != Change::Kind::kName || Acked().Child({place.id, place.name}) != link.op.node) return;
  auto record = acked_.Node(link.op.node);
  if (!record) return;
  record->content_known = false;
  const model::FileId nobody = NewForeign();
  acked_effects_.push_back({.kind = Effect::Kind::kSetNode, .id = nobody, .name = {}, .to = {}, .record = *record});
  acked_effects_.push_back(
      {.kind = Effect::Kind::kSetName, .id = nobody, .name = {place.id, place.name}, .to = {}, .record = {}});
}

// What was done in the directory moved its times on the target, and they were not set again. A ctime that no node has makes
// the difference seen, whatever the record says of mtime.
void ReplicatorImpl::DoubtTimes(const model::FileId& dir) {
  const auto had = Acked().Node(dir);
  if (!had) return;
  Effect effect{.kind = Effect::Kind::kSetNode, .id = dir, .name = {}, .to = {}, .record = *had};
  effect.record.metadata.ctime = {};
  acked_effects_.push_back(std::move(effect));
}

void ReplicatorImpl::AddRetry(const Change& change, const std::string& path, const absl::Status& status,
                              const Since& since) {
  const auto it = attempts_.find(KeyOf(change));
  const int failures = it == attempts_.end() ? 0 : it->second;
  Retry({.change = change,
         .due_ns = os::BoottimeNs() + BackOff(model::ReactionOf(status), failures),
         .failed = true,
         .error = std::string(status.message()),
         .path = path},
        since);
}

void ReplicatorImpl::LookAgain(const Change& change, std::int64_t delay_ns, const Since& since) {
  Retry({.change = change, .due_ns = os::BoottimeNs() + delay_ns, .failed = false, .error = ""}, since);
}

void ReplicatorImpl::Retry(PendingSet::Retry retry, const Since& since) { retries_.push_back(AsOldAs(since, std::move(retry))); }

PendingSet::Retry ReplicatorImpl::AsOldAs(const Since& since, PendingSet::Retry retry) {
  retry.first_ns = since.sequence == 0 ? os::BoottimeNs() : since.ns;
  retry.first_sequence = since.sequence;
  return retry;
}

bool ReplicatorImpl::AnythingToCommit() const {
  return !acked_effects_.empty() || !proved_.empty() || !retries_.empty() || (!deferred_.empty() && deferred_.front().batch <= acked_batch_);
}

bool ReplicatorImpl::CommitDue() const {
  if (!AnythingToCommit()) return false;
  return under_way_ == 0 || acked_effects_.size() >= kCommitEffects ||
         os::BoottimeNs() - acked_since_ns_ >= kCommitDelayNs;
}

// The catalogue first, then the pending set: if we die between the two, what is proved is only looked at again.
absl::Status ReplicatorImpl::Commit() {
  const std::uint64_t had = catalogue_->header().batch;
  const std::uint64_t doubted = doubts_.first_batch();
  // Should the connection or this process end before what is in doubt was listed, it is with all that was touched since.
  const std::uint64_t certain = std::max(had, doubted == 0 ? acked_batch_ : std::min(acked_batch_, doubted - 1));
  if (certain > had || !acked_effects_.empty()) {
    if (absl::Status status = catalogue_->Commit(certain, acked_effects_); !status.ok()) return status;
    NoteEstablished();
    acked_effects_.clear();
    acked_.Clear();
    acked_applied_ = 0;
    // One sync made durable what was under way together, and the target's note of that only with the next.
    const std::uint64_t noted = certain - std::min<std::uint64_t>(certain, kMaxBatchesUnderWay);
    if (absl::Status status = pending_->DropIntents(noted); !status.ok()) return status;
  }
  expected_.Retire(acked_round_);
  while (!deferred_.empty() && deferred_.front().batch <= acked_batch_) {
    LetGo(deferred_.front().proof);
    deferred_.pop_front();
  }
  acked_since_ns_ = 0;
  if (proved_.empty() && retries_.empty()) return absl::OkStatus();
  if (absl::Status status = pending_->Settle(proved_, retries_); !status.ok()) return status;
  proved_.clear();
  retries_.clear();
  return absl::OkStatus();
}

// So that a rebuilt catalogue does not take an unmounted target for a new one. Tried again with the next commit when it fails.
void ReplicatorImpl::NoteEstablished() {
  if (identity_.established) return;
  Identity established = identity_;
  established.established = true;
  if (const absl::Status written = WriteIdentity(options_.state_dir, established); !written.ok()) {
    Log(Severity::kWarning, std::string(written.message()));
    return;
  }
  identity_ = established;
}

}  // namespace fanmirror::replicate
