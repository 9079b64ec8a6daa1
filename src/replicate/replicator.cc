#include "replicate/replicator.h"

#include <unistd.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "model/failure.h"
#include "os/clock.h"
#include "replicate/replicator_impl.h"

namespace fanmirror::replicate {

using catalogue::PendingSet;
using model::Change;
using model::Failure;
using model::Reaction;

namespace {

constexpr std::int64_t kNsOfSecond = 1'000'000'000;
// A target that takes nothing and acknowledges nothing for so long is told of: longer than a sync of a busy disk takes.
constexpr std::int64_t kStallNs = 30 * kNsOfSecond;

Change TreeChange(const model::FileId& root, bool startup) {
  return {.kind = Change::Kind::kTree, .id = root, .name = "", .content = false, .startup = startup};
}

}  // namespace

std::string_view StateName(State state) {
  switch (state) {
    case State::kConnecting:
      return "connecting";
    case State::kSyncing:
      return "syncing";
    case State::kLive:
      return "live";
    case State::kHolding:
      return "holding";
    case State::kHalted:
      return "halted";
    case State::kStopped:
      return "stopped";
  }
  return "unknown";
}

absl::StatusOr<std::unique_ptr<Replicator>> Replicator::Open(Options options) {
  auto stores = OpenStores(options);
  if (!stores.ok()) return stores.status();
  return std::make_unique<ReplicatorImpl>(std::move(options), *std::move(stores));
}

ReplicatorImpl::ReplicatorImpl(Options options, Stores stores)
    : options_(std::move(options)),
      selection_{options_.filter, options_.ignored},
      pending_(std::move(stores.pending)),
      catalogue_(std::move(stores.catalogue)),
      identity_(std::move(stores.identity)),
      adopting_(stores.adopting),
      expected_(catalogue_.get()),
      scanner_(options_.tree, &selection_, options_.scan_threads),
      condenser_(options_.tree, catalogue_.get(), pending_.get()),
      auditor_({.tree = options_.tree,
                .selection = &selection_,
                .expected = &expected_,
                .interval_ns = absl::ToInt64Nanoseconds(options_.audit),
                .record = options_.state_dir + "/audited",
                .pending = [this](const Change& change) {
                  const auto entry = pending_->Find(change);
                  return !entry.ok() || entry->has_value();
                }}),
      guard_(options_.max_delete, catalogue_->header().held_of),
      acked_(catalogue_.get()) {}

ReplicatorImpl::~ReplicatorImpl() { ReplicatorImpl::Stop(); }

void ReplicatorImpl::Start() {
  NoteStart();
  thread_ = std::thread([this] { Main(); });
}

void ReplicatorImpl::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    woken_ = true;
  }
  wakeup_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void ReplicatorImpl::RequestHalt(HaltCause cause, std::string_view why) {
  {
    std::lock_guard lock(mutex_);
    halt_request_ = why;
    halt_request_cause_ = cause;
  }
  Wake();
}

void ReplicatorImpl::Approve() {
  {
    std::lock_guard lock(mutex_);
    approve_request_ = true;
  }
  Wake();
}

void ReplicatorImpl::RetryNow() {
  {
    std::lock_guard lock(mutex_);
    retry_now_ = true;
  }
  Wake();
}

void ReplicatorImpl::Wake() {
  {
    std::lock_guard lock(mutex_);
    woken_ = true;
  }
  wakeup_.notify_all();
}

void ReplicatorImpl::Changed(absl::Span<const Change> changes) {
  const absl::Status status = pending_->Note(changes, os::BoottimeNs());
  if (status.ok()) {
    Wake();
    return;
  }
  NoteFailed(status);
}

void ReplicatorImpl::NoteFailed(const absl::Status& status) {
  OnChangesLost(status);
  if (model::ReactionOf(status) != Reaction::kRetry) RequestHalt(HaltCause::kStore, std::string(status.message()));
}

void ReplicatorImpl::Rescan() { Changed({TreeChange(options_.tree->root(), /*startup=*/false)}); }

std::uint64_t ReplicatorImpl::Mark() const { return pending_->LastSequence(); }

bool ReplicatorImpl::Reached(std::uint64_t mark) const {
  {
    std::lock_guard lock(mutex_);
    if (lost_since_) return false;
  }
  const auto oldest = pending_->OldestSequence();
  return !oldest || *oldest > mark;
}

Progress ReplicatorImpl::progress() const {
  Progress progress;
  {
    std::lock_guard lock(mutex_);
    progress = progress_;
  }
  progress.pending = pending_->Size();
  if (const auto oldest = pending_->OldestNs()) {
    progress.lag_seconds = static_cast<double>(os::BoottimeNs() - *oldest) / 1e9;
  }
  progress.failing_count = pending_->FailingSize();
  for (PendingSet::Entry& entry : pending_->Failing(Progress::kMaxFailing)) {
    progress.failing.push_back({std::move(entry.path), std::move(entry.error)});
  }
  if (progress.last_error.empty() && !progress.failing.empty()) progress.last_error = progress.failing.front().error;
  return progress;
}

void ReplicatorImpl::PublishProgress() {
  Progress progress = counters_;
  // After a restart it holds from the first moment on, and what is told of it once it is counted.
  const bool holding = guard_.holding() && held_ > 0;
  progress.state = holding && ready_ ? State::kHolding : state_;
  progress.held_deletes = holding ? held_ : 0;
  progress.wire_bytes_sent = traffic_.bytes_sent;
  progress.wire_bytes_received = traffic_.bytes_received;
  progress.scans = scanner_.scans();
  progress.scanned = scanner_.scanned();
  progress.listed = scanner_.listed();
  progress.audits = auditor_.started();
  progress.audited_unix_seconds = auditor_.last_unix_s();
  progress.audit_found = auditor_.found();
  progress.checked_files = scanner_.unchanged();
  progress.halt_cause = halt_cause_;
  const std::int64_t now = os::BoottimeNs();
  progress.last_error = !connection_error_.empty() ? connection_error_ : !shortage_.empty() ? shortage_ : Stall(now);
  if (progress.last_error.empty() && holding) progress.last_error = HoldingText();
  if (state_ == State::kConnecting && !session_) {
    progress.next_attempt_seconds = static_cast<double>(std::max<std::int64_t>(0, reconnect_.at_ns() - now)) / 1e9;
  }
  {
    std::lock_guard lock(traffic_.mutex);
    progress.last_path = traffic_.last_path;
  }
  std::lock_guard lock(mutex_);
  progress_ = std::move(progress);
}

// A target whose disk hangs keeps its connection: it is told, and nothing else is done about it.
std::string ReplicatorImpl::Stall(std::int64_t now_ns) {
  if (const std::uint64_t produced = traffic_.produced; produced != moved_bytes_) {
    moved_bytes_ = produced;
    moved_ns_ = now_ns;
  }
  if ((under_way_ == 0 && !listing_) || now_ns - moved_ns_ < kStallNs) return "";
  return absl::StrCat("the target has not acknowledged anything for ", (now_ns - moved_ns_) / kNsOfSecond,
                      " s, though its receiver lives; its disk may hang: see the kernel log there");
}

void ReplicatorImpl::HaltBy(HaltCause cause, const absl::Status& status) {
  session_.reset();
  outbox_.clear();
  halt_cause_ = cause;
  FailVerification(status);
  state_ = State::kHalted;
  ready_ = false;
  connection_error_ = std::string(status.message());
  Log(Severity::kError, "halted: " + connection_error_);
}

void ReplicatorImpl::Main() {
  for (;;) {
    {
      std::lock_guard lock(mutex_);
      if (stopping_) break;
    }
    Turn();
    Wait();
  }
  Finish();
}

void ReplicatorImpl::Finish() {
  session_.reset();
  FailVerification(Failure(Reaction::kHaltJob, "the daemon is ending"));
  if (const absl::Status status = Commit(); !status.ok()) {
    Log(Severity::kError, "cannot write the catalogue: " + std::string(status.message()));
  }
  if (state_ != State::kHalted) state_ = State::kStopped;
  PublishProgress();
}

void ReplicatorImpl::Turn() {
  Work();
  PublishProgress();
}

void ReplicatorImpl::Work() {
  std::string halt;
  HaltCause cause = HaltCause::kStore;
  {
    std::lock_guard lock(mutex_);
    woken_ = false;
    halt = std::exchange(halt_request_, "");
    cause = halt_request_cause_;
    if (std::exchange(retry_now_, false)) reconnect_.AtOnce();
  }
  if (!halt.empty() && state_ != State::kHalted) HaltBy(cause, Failure(Reaction::kHaltJob, halt));
  HandleEvents();
  TakeApproval();
  if (state_ == State::kHalted || !KeepState()) return;
  GuardDeletes();
  if (!session_ && os::BoottimeNs() >= reconnect_.at_ns()) Connect();
  if (ready_) AskInquiries();
  drain_ = drain_ || (ready_ && RepairsWait());
  if (ready_ && drain_ && under_way_ == 0) {
    absl::Status status = LearnUnknown(0, 0);
    if (status.ok()) status = LearnRepairs();
    if (!status.ok()) OnLost(status);
  }
  if (ready_ && !drain_ && shortage_.empty() && PlanRound()) Wake();
  Audit();
  if (!ready_ && state_ != State::kHalted) CondenseBacklog();
}

void ReplicatorImpl::CondenseBacklog() {
  if (!taken_.empty() || !proofs_.empty() || AnythingToCommit()) return;
  const auto more = condenser_.Step();
  if (!more.ok()) {
    if (model::ReactionOf(more.status()) == Reaction::kHaltJob) HaltBy(HaltCause::kStore, more.status());
  } else if (*more) {
    Wake();
  }
}

void ReplicatorImpl::HandleEvents() {
  while (auto event = TakeEvent()) {
    if (auto* connected = std::get_if<Connected>(&*event)) {
      OnConnected(connected->reply);
    } else if (auto* acknowledged = std::get_if<Acknowledged>(&*event)) {
      OnAcknowledged(std::move(acknowledged->batch));
    } else if (auto* lost = std::get_if<Lost>(&*event)) {
      OnLost(lost->status);
    }
  }
}

std::optional<SessionEvent> ReplicatorImpl::TakeEvent() {
  std::lock_guard lock(mutex_);
  if (events_.empty()) return std::nullopt;
  SessionEvent event = std::move(events_.front());
  events_.pop_front();
  return event;
}

std::int64_t ReplicatorImpl::NextDeadlineNs() {
  const std::int64_t now = os::BoottimeNs();
  std::int64_t deadline = now + kFreshNs;
  if (state_ == State::kHalted) return deadline;
  if (!shortage_.empty()) return std::max(std::min(deadline, keep_at_ns_), now);
  if (!session_) deadline = std::min(deadline, reconnect_.at_ns());
  if (ready_ && !drain_ && under_way_ < kMaxBatchesUnderWay) {
    if (const auto due = pending_->NextDue()) deadline = std::min(deadline, *due);
  }
  if (guard_.undecided()) {
    const std::int64_t decision = guard_.undecided_since_ns() + absl::ToInt64Nanoseconds(options_.max_delay);
    if (decision > now) deadline = std::min(deadline, decision);
  }
  if (ready_ && !drain_ && state_ == State::kLive) deadline = std::min(deadline, auditor_.NextStepNs());
  if (AnythingToCommit()) deadline = std::min(deadline, acked_since_ns_ + kCommitDelayNs);
  return std::max(deadline, now);
}

void ReplicatorImpl::Wait() {
  WaitUntil(NextDeadlineNs(), [this] { return woken_ || stopping_ || !events_.empty(); });
}

void ReplicatorImpl::WaitUntil(std::int64_t deadline_ns, absl::FunctionRef<bool()> ready) {
  std::unique_lock lock(mutex_);
  if (deadline_ns == std::numeric_limits<std::int64_t>::max()) {
    wakeup_.wait(lock, ready);
    return;
  }
  const auto pause = std::chrono::nanoseconds(std::max<std::int64_t>(0, deadline_ns - os::BoottimeNs()));
  wakeup_.wait_for(lock, pause, ready);
}

std::unique_ptr<Session> ReplicatorImpl::NewSession(SessionOptions options) { return StartSession(std::move(options)); }

}  // namespace fanmirror::replicate
