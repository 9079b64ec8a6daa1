#include "replicate/replicator.h"

#include <unistd.h>

#include <fstream>
#include <limits>
#include <utility>

#include "model/failure.h"
#include "os/clock.h"
#include "replicate/replicator_impl.h"

namespace fanmirror::replicate {

using catalogue::Catalogue;
using catalogue::PendingSet;
using model::Change;
using model::Failure;
using model::Reaction;

namespace {

std::string BootId() {
  std::ifstream in("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(in, id);
  return id;
}

// The catalogue must be of this very source: a swapped or another filesystem would look like deletes.
absl::Status CheckSource(const Options& options, Catalogue* catalogue) {
  Catalogue::Header header = catalogue->header();
  if (header.root.empty()) {
    header.root = options.tree->root();
    header.filesystem = options.filesystem;
    return catalogue->SetHeader(header);
  }
  if (header.root == options.tree->root() && header.filesystem == options.filesystem) return absl::OkStatus();
  return Failure(Reaction::kHaltJob,
                 "the source " + model::QuotePath(options.source) + " is not the directory that target " + options.target +
                     " was mirrored from (filesystem " + header.filesystem + " then, " + options.filesystem +
                     " now): mount the right filesystem, or remove " + model::QuotePath(options.state_dir) +
                     " and set adopt = true to begin anew");
}

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
    case State::kHalted:
      return "halted";
    case State::kStopped:
      return "stopped";
  }
  return "unknown";
}

absl::StatusOr<Stores> OpenStores(const Options& options) {
  auto pending = PendingSet::Open(options.state_dir + "/pending", BootId(),
                                  {.settle_ns = absl::ToInt64Nanoseconds(options.settle),
                                   .max_delay_ns = absl::ToInt64Nanoseconds(options.max_delay)});
  if (!pending.ok()) return pending.status();
  auto catalogue = Catalogue::Open(options.state_dir + "/catalogue");
  if (!catalogue.ok()) return catalogue.status();
  if (absl::Status status = CheckSource(options, catalogue->get()); !status.ok()) return status;
  return Stores{*std::move(pending), *std::move(catalogue)};
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
      expected_(catalogue_.get()),
      scanner_(options_.tree, &selection_),
      auditor_({.tree = options_.tree,
                .selection = &selection_,
                .expected = &expected_,
                .interval_ns = absl::ToInt64Nanoseconds(options_.audit),
                .record = options_.state_dir + "/audited",
                .pending = [this](const Change& change) { return pending_->Holds(change); }}) {}

ReplicatorImpl::~ReplicatorImpl() { Stop(); }

void ReplicatorImpl::Start() {
  Changed({TreeChange(options_.tree->root(), /*startup=*/true)});
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

void ReplicatorImpl::Halt(std::string_view why) {
  {
    std::lock_guard lock(mutex_);
    halt_request_ = why;
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
  if (!status.ok()) {
    Log(Severity::kError, "cannot note changes: " + std::string(status.message()) + "; the job stops, restart it to scan anew");
    Halt(status.message().empty() ? "the pending set failed" : std::string_view(status.message().data(), status.message().size()));
    return;
  }
  Wake();
}

void ReplicatorImpl::Rescan() { Changed({TreeChange(options_.tree->root(), /*startup=*/false)}); }

std::uint64_t ReplicatorImpl::Mark() const { return pending_->LastSequence(); }

bool ReplicatorImpl::Reached(std::uint64_t mark) const {
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
  if (progress.last_error.empty()) {
    const auto failing = pending_->Failing(1);
    if (!failing.empty()) progress.last_error = failing.front().error;
  }
  return progress;
}

void ReplicatorImpl::PublishProgress() {
  Progress progress = counters_;
  progress.state = state_;
  progress.wire_bytes_sent = traffic_.bytes_sent;
  progress.wire_bytes_received = traffic_.bytes_received;
  progress.scans = scanner_.started() + auditor_.started();
  progress.scanned = scanner_.scanned() + auditor_.scanned();
  progress.audited_unix_seconds = auditor_.last_unix_s();
  progress.audit_found = auditor_.found();
  progress.checked_files = scanner_.unchanged();
  progress.last_error = connection_error_;
  {
    std::lock_guard lock(traffic_.mutex);
    progress.last_path = traffic_.last_path;
  }
  std::lock_guard lock(mutex_);
  progress_ = std::move(progress);
}

void ReplicatorImpl::HaltBy(const absl::Status& status) {
  session_.reset();
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
  {
    std::lock_guard lock(mutex_);
    woken_ = false;
    halt = std::exchange(halt_request_, "");
    if (std::exchange(retry_now_, false)) connect_at_ns_ = 0;
  }
  if (!halt.empty() && state_ != State::kHalted) HaltBy(Failure(Reaction::kHaltJob, halt));
  HandleEvents();
  if (state_ == State::kHalted) return;
  if (!session_ && os::BoottimeNs() >= connect_at_ns_) Connect();
  if (ready_) AskInquiries();
  drain_ = drain_ || (ready_ && RepairsWait());
  if (ready_ && drain_ && under_way_ == 0) {
    absl::Status status = LearnUnknown(0, 0);
    if (status.ok()) status = LearnRepairs();
    if (!status.ok()) OnLost(status);
  }
  if (ready_ && !drain_ && PlanRound()) Wake();
  Audit();
  if (!CommitDue()) return;
  if (const absl::Status status = Commit(); !status.ok()) HaltBy(status);
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
  std::int64_t deadline = now + 1'000'000'000;  // figures stay fresh
  if (state_ == State::kHalted) return deadline;
  if (!session_) deadline = std::min(deadline, connect_at_ns_);
  if (ready_ && !drain_ && under_way_ < kMaxBatchesUnderWay) {
    if (const auto due = pending_->NextDue()) deadline = std::min(deadline, *due);
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
