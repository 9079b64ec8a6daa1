#include <unistd.h>

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "os/clock.h"
#include "replicate/replicator_impl.h"
#include "wire/frame.h"

namespace fanmirror::replicate {

using catalogue::Catalogue;
using catalogue::PendingSet;
using model::Failure;
using model::Reaction;

namespace {

constexpr std::int64_t kFirstReconnectNs = 250'000'000;
constexpr std::int64_t kLastReconnectNs = 30'000'000'000;  // the receiver is back for half a minute at most unnoticed

std::string HostName() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "";
}

}  // namespace

void ReplicatorImpl::Connect() {
  state_ = State::kConnecting;
  SessionOptions session;
  session.tree = options_.tree;
  session.connect = options_.connect;
  session.stderr_sink = [this](std::string_view line) { Log(Severity::kInfo, "receiver: " + std::string(line)); };
  session.hello = {.protocol = wire::kProtocol,
                   .program = FANMIRROR_VERSION,
                   .job = options_.job,
                   .instance = catalogue_->header().instance,
                   .source = HostName() + ":" + options_.source,
                   .path = options_.path,
                   .adopt = options_.adopt,
                   .established = catalogue_->header().batch > 0};
  session.bandwidth_limit = options_.bandwidth_limit;
  session.on_event = [this](SessionEvent event) {
    if (auto* answered = std::get_if<Answered>(&event); answered != nullptr && inquiries_.Deliver(answered->answer)) return;
    {
      std::lock_guard lock(mutex_);
      events_.push_back(std::move(event));
    }
    Wake();
  };
  session.traffic = &traffic_;
  session_ = NewSession(std::move(session));
}

void ReplicatorImpl::OnLost(const absl::Status& status) {
  session_.reset();
  FailVerification(status.ok() ? Failure(Reaction::kReconnect, "the connection was closed") : status);
  {
    std::lock_guard lock(mutex_);
    events_.clear();  // of that session
  }
  // What was acknowledged is durable on the target, connection or not.
  if (const absl::Status committed = Commit(); !committed.ok()) {
    HaltBy(committed);
    return;
  }
  std::vector<PendingSet::Entry> entries(taken_.begin(), taken_.end());
  for (const ProofHandle& proof : proofs_) entries.insert(entries.end(), proof->entries.begin(), proof->entries.end());
  taken_.clear();
  proofs_.clear();
  deferred_.clear();
  scanner_.Clear();
  scanning_all_ = false;
  expected_.Clear();
  relearn_.clear();
  under_way_ = 0;
  ready_ = drain_ = false;
  if (const absl::Status released = pending_->Release(entries); !released.ok()) {
    HaltBy(released);
    return;
  }
  if (status.ok()) return;  // we ended it
  if (model::ReactionOf(status) == Reaction::kHaltJob) {
    HaltBy(status);
    return;
  }
  state_ = State::kConnecting;
  const std::string error(status.message());
  if (error != connection_error_) Log(Severity::kWarning, error);
  connection_error_ = error;
  const std::int64_t pause = std::min(kLastReconnectNs, kFirstReconnectNs << std::min(connect_attempts_, 10));
  ++connect_attempts_;
  connect_at_ns_ = os::BoottimeNs() + pause;
}

void ReplicatorImpl::OnConnected(const wire::HelloReply& reply) {
  absl::Status status = AgreeOnState(reply);
  if (!status.ok()) {
    OnLost(status);
    return;
  }
  next_batch_ = std::max(reply.begun, catalogue_->header().batch) + 1;
  settled_batch_ = acked_batch_ = next_batch_ - 1;
  ready_ = true;
  inquiries_.Resume();
  state_ = State::kSyncing;
  connect_attempts_ = 0;
  connection_error_.clear();
  Log(Severity::kInfo, "connected: receiver fanmirror " + reply.program + ", " + model::QuotePath(reply.root) + " on " +
                           reply.filesystem);
  // Whoever waits in limbo since before is asked after once more.
  std::vector<model::Change> limbo;
  catalogue_->ForEachChild(model::FileId::Limbo(), [&](const std::string&, const model::FileId& id) {
    limbo.push_back(plan::LimboChange(id));
    return true;
  });
  if (!limbo.empty()) Changed(limbo);
}

// Compares what both sides hold durable, and has the target tell where they may differ.
absl::Status ReplicatorImpl::AgreeOnState(const wire::HelloReply& reply) {
  const Catalogue::Header header = catalogue_->header();
  const bool blank = !catalogue_->Node(header.root).has_value();
  absl::Status status;
  if (blank || reply.begun < header.batch) {
    if (!blank) Log(Severity::kWarning, "the target is behind its catalogue (restored from a backup?); comparing all of it");
    status = LearnAll();
  } else if (reply.begun > header.batch) {
    status = LearnUnknown(header.batch + 1, reply.begun);
  }
  if (!status.ok() || reply.begun == header.batch) return status;
  Catalogue::Header agreed = catalogue_->header();
  agreed.batch = reply.begun;
  return catalogue_->SetHeader(agreed);
}

absl::Status ReplicatorImpl::LearnAll() {
  Learner learner = MakeLearner();
  const absl::Status status = learner.LearnAll();
  NoteLearnt(learner);
  return status;
}

// No barrier falls before what was learnt is compared with the source.
void ReplicatorImpl::NoteLearnt(const Learner& learner) {
  const Since since{pending_->OldestSequence().value_or(0), pending_->OldestNs().value_or(0)};
  for (const model::Change& change : learner.changes()) LookAgain(change, 0, since);
}

// Lists what batches `first` to `last` touched (0: none), and what failed ops touched.
absl::Status ReplicatorImpl::LearnUnknown(std::uint64_t first, std::uint64_t last) {
  if (absl::Status status = Commit(); !status.ok()) return status;
  if (first != 0) {
    const auto touched = pending_->Intents(first, last);
    if (!touched.ok()) return touched.status();
    if (!*touched) {
      Log(Severity::kWarning, "it is not known what the last batches changed on the target; comparing all of it");
      return LearnAll();
    }
    for (const PendingSet::Touched& place : **touched) relearn_[place.path] |= place.recursive;
  }
  Learner learner = MakeLearner();
  // In the order of their paths: a directory before what is in it.
  for (const auto& [path, recursive] : std::exchange(relearn_, {})) {
    const absl::Status status = learner.LearnPlace(path, recursive);
    if (status.ok()) continue;
    NoteLearnt(learner);
    return status;
  }
  if (absl::Status status = learner.Finish(); !status.ok()) return status;
  NoteLearnt(learner);
  settled_batch_ = next_batch_ - 1;
  drain_ = false;
  return absl::OkStatus();
}

Learner ReplicatorImpl::MakeLearner() {
  return Learner(options_.tree, &selection_, catalogue_.get(),
                 [this](const std::string& path, bool children,
                        const std::function<absl::Status(const wire::Listing&)>& frame) {
                   return ListPlace(path, children, frame);
                 });
}

absl::Status ReplicatorImpl::ListPlace(const std::string& path, bool children,
                                       const std::function<absl::Status(const wire::Listing&)>& frame) {
  wire::List list{.id = next_list_++, .path = path, .children = children};
  session_->Ask(list);
  for (;;) {
    WaitUntil(std::numeric_limits<std::int64_t>::max(), [this] { return stopping_ || !events_.empty(); });
    {
      std::lock_guard lock(mutex_);
      if (stopping_) return Failure(Reaction::kReconnect, "stopped");
    }
    auto event = TakeEvent();
    if (auto* lost = std::get_if<Lost>(&*event)) return lost->status;
    auto* answered = std::get_if<Answered>(&*event);
    const auto* listing = answered == nullptr ? nullptr : std::get_if<wire::Listing>(&answered->answer);
    if (listing == nullptr || listing->id != list.id) continue;
    if (!listing->error.empty()) {
      return Failure(Reaction::kReconnect, "the target cannot list " + model::QuotePath(path) + ": " + listing->error);
    }
    if (!listing->last) {
      list.id = next_list_++;
      list.after = listing->next;
      session_->Ask(list);
    }
    if (absl::Status status = frame(*listing); !status.ok()) return status;
    if (listing->last) return absl::OkStatus();
  }
}

}  // namespace fanmirror::replicate
