#include <algorithm>
#include <utility>

#include "os/clock.h"
#include "plan/paths.h"
#include "replicate/replicator_impl.h"

namespace fanmirror::replicate {

using catalogue::PendingSet;
using model::Change;
using model::Op;

namespace {

// Content of one round: what is in it becomes durable together, so this bounds the wait for the first ack.
constexpr std::uint64_t kRoundBytes = std::uint64_t{64} << 20;
// Ops of one batch; a round that needs more (a large tree removed) is several batches.
constexpr std::size_t kBatchOps = 8'192;
// What cannot be decided waits for an event that is on its way.
constexpr std::int64_t kPostponeNs = 20'000'000;
// A node in limbo is given so long to turn up under a new name, again and again while anything older is pending.
constexpr std::int64_t kLimboNs = 1'000'000'000;

bool MovesDirectory(const Op& op) {
  return op.type == model::NodeType::kDirectory && op.kind != Op::Kind::kSetMetadata && op.kind != Op::Kind::kMake;
}

}  // namespace

void ReplicatorImpl::Since::Include(const Proof& proof) {
  for (const PendingSet::Entry& entry : proof.entries) {
    if (sequence == 0 || entry.first_sequence < sequence) {
      sequence = entry.first_sequence;
      ns = entry.first_ns;
    }
  }
}

bool ReplicatorImpl::PlanRound() {
  if (under_way_ >= kMaxBatchesUnderWay) return false;
  Looker looker(options_.tree, &selection_, &expected_);
  auto proof = std::make_shared<Proof>();
  // A round is approved as a whole or not at all: what differs takes turns.
  const ProofHandle front = scanner_.Front();
  const bool walk_approved = front && !front->entries.empty() && IsApproved(front->entries.front());
  bool approved = !std::exchange(walk_waits_, false) && TakeChanges(&looker, proof.get());
  if (proof->entries.empty()) approved = walk_approved;
  walk_waits_ = front && approved != walk_approved;
  const ProofHandle walk =
      approved == walk_approved
          ? scanner_.Step(options_.round_names - std::min(options_.round_names, looker.names()), kRoundBytes, looked_ns_, &looker)
          : nullptr;
  const auto finished = scanner_.TakeFinished();
  if (proof->entries.empty() && !walk) {
    // Connected again, and nothing had changed meanwhile.
    if (state_ == State::kSyncing && !pending_->OldestSequence()) state_ = State::kLive;
    return false;
  }
  looker.Close();
  if (looker.looked()) looked_ns_ = os::BoottimeNs();
  if (const absl::Status health = catalogue_->health(); !health.ok()) {
    HaltBy(HaltCause::kStore, health);
    return false;
  }
  Since since;
  since.Include(*proof);
  if (walk) since.Include(*walk);

  proofs_.push_back(proof);
  NoteLookFailures(looker, since);
  const std::uint64_t round = next_round_++;
  plan::Plan plan = plan::MakePlan(looker.facts(),
                                   {.root = options_.tree->root(),
                                    .delete_at_startup = options_.delete_at_startup,
                                    .delete_while_running = options_.delete_while_running,
                                    .deletes_allowed = DeletesAllowed(approved)},
                                   round, &expected_);
  NotePlanLeftovers(plan, since);
  if (!NoteTrees(looker, plan, since)) return false;
  SendPlan(std::move(plan), round, since, approved);
  deferred_.push_back({next_batch_ - 1, proof});
  for (const ProofHandle& done : finished) deferred_.push_back({next_batch_ - 1, done});
  if (acked_since_ns_ == 0 && AnythingToCommit()) acked_since_ns_ = os::BoottimeNs();
  if (scanner_.Idle() && std::exchange(scanning_all_, false)) auditor_.Passed(0);
  if (scanner_.Idle() && state_ == State::kSyncing) {
    state_ = State::kLive;
    if (std::exchange(scans_told_, scanner_.scans()) != scanner_.scans()) Log(Severity::kInfo, "the scan is through");
  } else if (!scanner_.Idle()) {
    state_ = State::kSyncing;
  }
  return true;
}

// Takes changes that are all approved deletes, or all others; which.
bool ReplicatorImpl::TakeChanges(Looker* looker, Proof* proof) {
  bool approved = false;
  if (taken_.empty()) {
    auto due = pending_->TakeDue(os::BoottimeNs(), options_.round_names);
    if (!due.ok()) {
      OnStoreFailure(due.status());
      return approved;
    }
    taken_.assign(due->begin(), due->end());
  }
  const auto oldest = pending_->OldestSequence();
  while (!taken_.empty() && looker->names() < options_.round_names && looker->bytes() < kRoundBytes) {
    if (proof->entries.empty()) approved = IsApproved(taken_.front());
    if (IsApproved(taken_.front()) != approved) break;
    PendingSet::Entry entry = std::move(taken_.front());
    taken_.pop_front();
    if (entry.attempts > 0) attempts_[KeyOf(entry.change)] = entry.attempts;
    if (entry.change.kind == Change::Kind::kTree) {
      StartWalk(entry, looker);
      continue;
    }
    // Nothing older is pending and no walk under way: a node without a name has none.
    const bool limbo_is_over = scanner_.Idle() && oldest && entry.first_sequence <= *oldest;
    looker->Add(entry.change, limbo_is_over);
    proof->entries.push_back(std::move(entry));
  }
  return approved;
}

void ReplicatorImpl::StartWalk(const PendingSet::Entry& entry, Looker* looker) {
  auto proof = std::make_shared<Proof>();
  proof->entries.push_back(entry);
  proofs_.push_back(proof);
  std::string path;
  const bool all = entry.change.id == options_.tree->root();
  if (!all) {
    const auto place = options_.tree->Locate(entry.change.id);
    const bool inside = place.ok() && place->kind == os::Tree::Place::Kind::kInside &&
                        !selection_.ExcludesWithParents(place->path, /*is_directory=*/true);
    if (!inside) {
      // What cannot be located now may be inside. Otherwise nothing of it belongs to the job: the names that lead there tell.
      Since since;
      since.Include(*proof);
      if (!place.ok()) AddRetry(entry.change, PathOf(entry.change), place.status(), since);
      deferred_.push_back({next_batch_ - 1, proof});
      return;
    }
    path = place->path;
  } else {
    looker->Add(plan::NodeChange(entry.change.id), /*limbo_is_over=*/false);  // its own metadata: it has no name
    guard_.ScanBegins(catalogue_->nodes());
    scanning_all_ = true;
  }
  scanner_.Start(all ? Scanner::Kind::kScan : Scanner::Kind::kDirectory, entry.change.id, path, entry.change.startup, proof);
}

void ReplicatorImpl::NoteLookFailures(const Looker& looker, const Since& since) {
  for (const Looker::Failed& failed : looker.failed()) AddRetry(failed.change, PathOf(failed.change), failed.status, since);
}

void ReplicatorImpl::NotePlanLeftovers(const plan::Plan& plan, const Since& since) {
  HoldBack(plan.held, since);
  for (const Change& change : plan.postponed) {
    if (change.kind == Change::Kind::kTree) continue;  // NoteTrees
    LookAgain(change, change.kind == Change::Kind::kLimbo ? kLimboNs : kPostponeNs, since);
  }
  for (const plan::Plan::Refusal& refusal : plan.refused) {
    AddRetry(refusal.change, PathOf(refusal.change), model::Failure(model::Reaction::kSkipAndReport, refusal.message), since);
  }
}

// Directories that the target is about to get are to be walked, whatever becomes of the connection and of us: once they are
// in the catalogue nothing else tells that they were not. False: it could not be noted, and the round is given up.
bool ReplicatorImpl::NoteTrees(const Looker& looker, const plan::Plan& plan, const Since& since) {
  std::vector<PendingSet::Retry> trees;
  const auto add = [&](const Change& tree) {
    trees.push_back(AsOldAs(since, {.change = tree, .due_ns = os::BoottimeNs(), .failed = false, .error = ""}));
  };
  for (const model::FileId& dir : looker.new_trees()) add(plan::TreeChange(dir));
  for (const Change& change : plan.postponed) {
    if (change.kind == Change::Kind::kTree) add(change);
  }
  if (trees.empty()) return true;
  const absl::Status status = pending_->Settle({}, trees);
  if (status.ok()) return true;
  OnStoreFailure(status);
  if (state_ != State::kHalted) OnLost(status);
  return false;
}

void ReplicatorImpl::SendPlan(plan::Plan plan, std::uint64_t round, const Since& since, bool approved) {
  if (plan.steps.empty() && plan.forgotten.empty()) return;
  std::size_t at = 0;
  do {
    const std::size_t count = std::min(kBatchOps, plan.steps.size() - at);
    auto batch = std::make_unique<Batch>();
    batch->number = next_batch_++;
    batch->settled = settled_batch_;
    batch->round = round;
    batch->first_sequence = since.sequence;
    batch->first_ns = since.ns;
    if (at == 0) batch->forgotten = std::move(plan.forgotten);
    const auto begin = plan.steps.begin() + static_cast<std::ptrdiff_t>(at);
    batch->steps.assign(std::make_move_iterator(begin),
                        std::make_move_iterator(begin + static_cast<std::ptrdiff_t>(count)));
    if (!approved) {
      batch->guarded = static_cast<std::uint64_t>(
          std::count_if(batch->steps.begin(), batch->steps.end(), [](const plan::Step& step) { return step.deletes; }));
    }
    guard_.Planned(batch->guarded);
    at += count;
    batch->last_of_round = at == plan.steps.size();
    outbox_.push_back(std::move(batch));
  } while (at < plan.steps.size());
  SendOutbox();
}

void ReplicatorImpl::SendEmptyBatch() {
  auto batch = std::make_unique<Batch>();
  batch->number = next_batch_++;
  batch->settled = settled_batch_;
  batch->round = next_round_++;
  outbox_.push_back(std::move(batch));
  SendOutbox();
}

absl::Status ReplicatorImpl::RecordIntent(const Batch& batch) {
  std::vector<PendingSet::Touched> touched;
  for (const plan::Step& step : batch.steps) {
    // What is made in a second directory (DisownSecond) is believed to lie in the first.
    const bool makes_directory = step.op.type == model::NodeType::kDirectory && step.op.kind == Op::Kind::kMake;
    const auto first = makes_directory ? AckedPlacesOf(step.op.node) : std::nullopt;
    for (const std::string& place : first.value_or(std::vector<std::string>())) touched.push_back({place, /*recursive=*/true});
    const bool recursive = MovesDirectory(step.op) || first;
    touched.push_back({step.op.path, recursive});
    if (step.op.kind == Op::Kind::kRename || step.op.kind == Op::Kind::kExchange) {
      touched.push_back({step.op.from, recursive});
    }
  }
  return pending_->RecordIntent(batch.number, touched);
}

// Where the target is expected to have what the change is of; for people, and empty when it has no place.
std::string ReplicatorImpl::PathOf(const Change& change) {
  plan::Paths paths(&expected_, options_.tree->root());
  if (change.kind == Change::Kind::kName) return paths.OfName({change.id, change.name}).value_or(change.name);
  if (change.kind == Change::Kind::kTree) return paths.OfDirectory(change.id).value_or("");
  for (const model::Name& name : expected_.NamesOf(change.id)) {
    if (auto path = paths.OfName(name)) return *std::move(path);
  }
  return "";
}

void ReplicatorImpl::LetGo(const ProofHandle& proof) {
  for (PendingSet::Entry& entry : proof->entries) {
    attempts_.erase(KeyOf(entry.change));
    proved_.push_back(std::move(entry));
  }
  proofs_.remove(proof);
}

std::string ReplicatorImpl::KeyOf(const Change& change) {
  return std::string(1, static_cast<char>(change.kind)) + change.id.Encode() + change.name;
}

}  // namespace fanmirror::replicate
