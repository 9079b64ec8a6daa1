#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "os/clock.h"
#include "replicate/replicator_impl.h"
#include "wire/frame.h"

namespace fanmirror::replicate {

using catalogue::Catalogue;
using catalogue::PendingSet;
using model::Failure;
using model::Reaction;

namespace {

// What the receiver said and nobody looked at yet; a listing of 1,000 entries is some 200 KB.
constexpr std::size_t kMaxWaitingEvents = 16;

std::string HostName() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "";
}

}  // namespace

void ReplicatorImpl::Connect() {
  state_ = State::kConnecting;
  SessionOptions session;
  session.tree = options_.tree;
  session.belongs = [this](const std::string& path, bool is_directory) {
    return !selection_.ExcludesWithParents(path, is_directory);
  };
  session.connect = options_.connect;
  session.stderr_sink = [this](std::string_view line) { Log(Severity::kInfo, "receiver: " + std::string(line)); };
  session.hello = {.protocol = wire::kProtocol,
                   .program = FANMIRROR_VERSION,
                   .job = options_.job,
                   .instance = identity_.instance,
                   .source = HostName() + ":" + options_.source,
                   .path = options_.path,
                   .adopt = options_.adopt || adopting_,
                   .established = identity_.established || catalogue_->header().batch > 0,
                   .silence = options_.timeout};
  session.bandwidth_limit = options_.bandwidth_limit;
  session.has_room = [this] {
    std::lock_guard lock(mutex_);
    return events_.size() < kMaxWaitingEvents;
  };
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
  const absl::Status committed = Commit();
  given_back_.insert(given_back_.end(), taken_.begin(), taken_.end());
  for (const ProofHandle& proof : proofs_) given_back_.insert(given_back_.end(), proof->entries.begin(), proof->entries.end());
  taken_.clear();
  outbox_.clear();
  guard_.Lost();
  proofs_.clear();
  deferred_.clear();
  scanner_.Clear();
  scanning_all_ = false;
  expected_.Clear();
  under_way_ = 0;
  ready_ = drain_ = false;
  if (const absl::Status kept = committed.ok() ? ReleaseGivenBack() : committed; !kept.ok()) OnStoreFailure(kept);
  if (state_ == State::kHalted || status.ok()) return;  // or we ended it
  if (model::ReactionOf(status) == Reaction::kHaltJob) {
    HaltBy(HaltCause::kRefused, status);
    return;
  }
  state_ = State::kConnecting;
  const std::string error(status.message());
  if (error != connection_error_) Log(Severity::kWarning, error);
  connection_error_ = error;
  const std::int64_t now = os::BoottimeNs();
  reconnect_.Lost(now, connected_ns_ == 0 ? 0 : now - connected_ns_);
  connected_ns_ = 0;
}

void ReplicatorImpl::OnConnected(const wire::HelloReply& reply) {
  absl::Status status = AgreeOnState(reply);
  if (!status.ok()) {
    OnLost(status);
    return;
  }
  EndAdoption();
  const Catalogue::Header header = catalogue_->header();
  // Numbers that were given are not given again: an older state of the target, of a history that came to nothing, would pass
  // for the state that the catalogue knows.
  next_batch_ = std::max({reply.begun, header.batch, header.listed}) + 1;
  settled_batch_ = next_batch_ - 1;
  acked_batch_ = header.batch;
  doubts_.Clear();
  ready_ = true;
  // The target is to know the number that it is compared with from now on, and what was listed is to be durable there.
  if (reply.durable < header.batch || header.batch < header.listed) SendEmptyBatch();
  inquiries_.Resume();
  state_ = State::kSyncing;
  connected_ns_ = os::BoottimeNs();
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

// Compares what both sides hold, and has the target tell where they may differ. What it tells need not be durable there: it
// is asked for the same places again until a batch after that is acknowledged. A target that does not know that what it
// acknowledged is durable lost power just after, or is as a backup caught it in the midst of that.
absl::Status ReplicatorImpl::AgreeOnState(const wire::HelloReply& reply) {
  if (absl::Status status = Commit(); !status.ok()) return status;  // what was kept when there was no room
  const Catalogue::Header header = catalogue_->header();
  const std::uint64_t listed = std::max(reply.begun, header.listed);
  if (listed > header.batch) {
    if (absl::Status noted = NoteListed(listed); !noted.ok()) return noted;
  }
  if (!header.complete) return LearnAll();
  if (reply.begun < header.batch) {
    Log(Severity::kWarning, "the target is behind its catalogue (restored from a backup?); comparing all of it");
    return LearnAll();
  }
  const std::uint64_t certain = std::min(header.batch, reply.durable);
  const std::uint64_t last = std::max(header.batch, listed);
  return last > certain ? LearnUnknown(certain + 1, last) : absl::OkStatus();
}

absl::Status ReplicatorImpl::NoteListed(std::uint64_t batch) {
  Catalogue::Header header = catalogue_->header();
  if (header.listed == batch) return absl::OkStatus();
  header.listed = batch;
  return catalogue_->SetHeader(header);
}

absl::Status ReplicatorImpl::LearnAll() {
  if (absl::Status status = MakeLearner().LearnAll(vouched_ ? &*vouched_ : nullptr); !status.ok()) return status;
  vouched_.reset();
  Catalogue::Header header = catalogue_->header();
  header.complete = true;
  return catalogue_->SetHeader(header);
}

// The receiver has taken over its root, and the catalogue holds what is there. Should we die before the file is gone, both
// are done once more.
void ReplicatorImpl::EndAdoption() {
  if (!adopting_) return;
  if (absl::Status removed = RemoveAdoption(options_.state_dir); !removed.ok()) {
    Log(Severity::kError, std::string(removed.message()));
    return;
  }
  adopting_ = false;
  Log(Severity::kInfo, "adopted");
}

// No barrier falls before what was learnt is compared with the source.
absl::Status ReplicatorImpl::NoteLearnt(absl::Span<const model::Change> changes) {
  const Since since{pending_->OldestSequence().value_or(0), pending_->OldestNs().value_or(0)};
  for (const model::Change& change : changes) LookAgain(change, 0, since);
  return Commit();
}

// Lists what batches `first` to `last` touched (0: none), and what failed ops touched.
absl::Status ReplicatorImpl::LearnUnknown(std::uint64_t first, std::uint64_t last) {
  if (absl::Status status = Commit(); !status.ok()) return status;
  std::map<std::string, bool> places = doubts_.places();
  if (first != 0) {
    const auto touched = pending_->Intents(first, last);
    if (!touched.ok()) return touched.status();
    if (!*touched) {
      Log(Severity::kWarning, "it is not known what the last batches changed on the target; comparing all of it");
      vouched_ = Learner::VouchedBy(*catalogue_, options_.tree->root());
      return LearnAll();
    }
    for (const PendingSet::Touched& place : **touched) places[place.path] |= place.recursive;
  }
  Learner learner = MakeLearner();
  if (absl::Status status = learner.LearnPlaces(std::move(places)); !status.ok()) return status;
  settled_batch_ = next_batch_ - 1;
  drain_ = false;
  doubts_.Clear();
  return Commit();
}

Learner ReplicatorImpl::MakeLearner() {
  return Learner(
      options_.tree, &selection_, catalogue_.get(),
      [this](const std::string& path, bool children) {
        session_->Ask(wire::List{.id = next_list_++, .path = path, .children = children});
      },
      [this](const std::function<absl::Status(const wire::Listing&)>& frame) { return TakeListing(frame); },
      [this](absl::Span<const model::Change> changes) { return NoteLearnt(changes); });
}

// The receiver answers in the order of the questions.
absl::Status ReplicatorImpl::TakeListing(const std::function<absl::Status(const wire::Listing&)>& frame) {
  moved_ns_ = os::BoottimeNs();
  listing_ = true;
  const auto listed = absl::MakeCleanup([this] { listing_ = false; });
  for (;;) {
    WaitUntil(os::BoottimeNs() + kFreshNs, [this] { return stopping_ || !halt_request_.empty() || !events_.empty(); });
    {
      std::lock_guard lock(mutex_);
      if (stopping_ || !halt_request_.empty()) return Failure(Reaction::kReconnect, "stopped");
    }
    auto event = TakeEvent();
    if (!event) {
      PublishProgress();
      continue;
    }
    if (auto* lost = std::get_if<Lost>(&*event)) return lost->status;
    auto* answer = std::get_if<Answered>(&*event);
    const auto* listing = answer == nullptr ? nullptr : std::get_if<wire::Listing>(&answer->answer);
    if (listing == nullptr) continue;
    moved_ns_ = os::BoottimeNs();
    if (absl::Status status = frame(*listing); !status.ok()) return status;
    if (listing->last) return absl::OkStatus();
  }
}

}  // namespace fanmirror::replicate
