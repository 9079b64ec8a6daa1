#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "catalogue/catalogue.h"
#include "catalogue/expected.h"
#include "catalogue/pending_set.h"
#include "replicate/auditor.h"
#include "replicate/batch.h"
#include "replicate/condenser.h"
#include "replicate/doubts.h"
#include "replicate/learner.h"
#include "replicate/reconnect.h"
#include "replicate/replicator.h"
#include "replicate/inquiries.h"
#include "replicate/scanner.h"
#include "model/failure.h"
#include "replicate/session.h"
#include "replicate/stores.h"
#include "replicate/verifier.h"

namespace fanmirror::replicate {

// Batches that may be sent before the first of them is acknowledged: enough to keep the link busy while the target syncs,
// few enough that what is of unknown outcome after a lost connection stays small.
inline constexpr std::size_t kMaxBatchesUnderWay = 8;
// Acknowledged batches wait so long for others to be committed with them, while more are under way.
inline constexpr std::int64_t kCommitDelayNs = 250'000'000;
// Figures are never older.
inline constexpr std::int64_t kFreshNs = 1'000'000'000;

// One target: the planning thread and all that it alone uses. The session has a thread of its own and speaks to this one
// through `events_`; watchers speak to it through the pending set. Who drives it without threads of its own overrides
// WaitUntil and NewSession, and calls Turn and Wait in turns where Main would.
class ReplicatorImpl : public Replicator {
 public:
  ReplicatorImpl(Options options, Stores stores);
  ~ReplicatorImpl() override;

  void Start() override;
  void Stop() override;
  void Detach() override;
  void Changed(absl::Span<const model::Change> changes) override;
  void Rescan() override;
  void RetryNow() override;
  void Approve() override;
  Progress progress() const override;
  std::uint64_t Mark() const override;
  bool Reached(std::uint64_t mark) const override;
  absl::StatusOr<VerifyCounts> Verify(const VerifyOptions& options) override;

 protected:
  // start.cc: notes a scan of everything, unless nothing can have been missed since the last time.
  void NoteStart();
  // Does what there is to do, without waiting but for the answers to listings.
  void Turn();
  // Until there is something to do, or time to do it.
  void Wait();
  // The end: the connection closes, and what is acknowledged is committed.
  void Finish();
  // Blocks until ready(), which is called with the mutex held, or until os::BoottimeNs() reaches `deadline_ns`.
  virtual void WaitUntil(std::int64_t deadline_ns, absl::FunctionRef<bool()> ready);
  virtual std::unique_ptr<Session> NewSession(SessionOptions options);

  mutable std::mutex mutex_;

 private:
  // The oldest change that something is done for.
  struct Since {
    std::uint64_t sequence = 0;  // 0: none
    std::int64_t ns = 0;
    void Include(const Proof& proof);
  };
  // A proof that is let go once a batch is acknowledged and committed.
  struct Deferred {
    std::uint64_t batch;
    ProofHandle proof;
  };

  // replicator.cc
  void Main();
  void Work();
  std::int64_t NextDeadlineNs();
  void HandleEvents();
  std::optional<SessionEvent> TakeEvent();
  void Wake();
  void HaltBy(HaltCause cause, const absl::Status& status);
  std::string Stall(std::int64_t now_ns);
  void RequestHalt(HaltCause cause, std::string_view why);
  void CondenseBacklog();
  void NoteFailed(const absl::Status& status);  // any thread
  void PublishProgress();
  void Log(Severity severity, const std::string& line) { options_.log(severity, line); }

  // guarding.cc: deletes that are too many
  plan::DeleteGuard::Situation GuardSituation() const;
  std::optional<std::uint64_t> DeletesAllowed(bool approved);
  bool IsApproved(const catalogue::PendingSet::Entry& entry) const;
  void HoldBack(const std::vector<model::Change>& held, const Since& since);
  absl::StatusOr<std::uint64_t> CountHeld() const;
  bool HoldsAny() const;
  absl::Status ReleaseHeld();
  absl::Status KeepHeldOf();
  bool AllIsLookedAt() const;
  void GuardDeletes();
  void TakeApproval();
  absl::Status KeepGuard();
  std::string HoldingText() const;

  // keeping.cc: what is written to our own state, and what becomes of it while there is no room
  void OnStoreFailure(const absl::Status& status);
  bool KeepState();
  absl::Status ReleaseGivenBack();
  absl::Status NoteScanForLost();
  void OnChangesLost(const absl::Status& status);
  bool SendOutbox();

  // connection.cc
  void Connect();
  void OnConnected(const wire::HelloReply& reply);
  void OnLost(const absl::Status& status);
  void EndAdoption();
  absl::Status AgreeOnState(const wire::HelloReply& reply);
  absl::Status LearnUnknown(std::uint64_t first, std::uint64_t last);
  absl::Status NoteListed(std::uint64_t batch);
  absl::Status LearnAll();
  absl::Status TakeListing(const std::function<absl::Status(const wire::Listing&)>& frame);
  Learner MakeLearner();
  absl::Status NoteLearnt(absl::Span<const model::Change> changes);

  // verification.cc; the first four on the thread that verifies
  absl::Status AwaitLive(const VerifyOptions& options);
  absl::Status RefuseUnlessComing() const;
  absl::Status SettleAll(const VerifyOptions& options);
  absl::Status RepairPlaces(std::vector<Repair> repairs, const VerifyOptions& options);
  void AskInquiries();
  bool RepairsWait();
  absl::Status LearnRepairs();
  void FailVerification(const absl::Status& why);
  void Audit();

  // rounds.cc
  bool PlanRound();
  bool TakeChanges(Looker* looker, Proof* proof);
  void StartWalk(const catalogue::PendingSet::Entry& entry, Looker* looker);
  void NoteLookFailures(const Looker& looker, const Since& since);
  void NotePlanLeftovers(const plan::Plan& plan, const Since& since);
  bool NoteTrees(const Looker& looker, const plan::Plan& plan, const Since& since);
  void SendPlan(plan::Plan plan, std::uint64_t round, const Since& since, bool approved);
  void SendEmptyBatch();
  absl::Status RecordIntent(const Batch& batch);
  std::string PathOf(const model::Change& change);
  void LetGo(const ProofHandle& proof);

  // settling.cc
  void OnAcknowledged(std::unique_ptr<Batch> batch);
  void TakeResult(const Batch& batch, std::size_t index);
  Since FailedSince(const Batch& batch) const;
  void TakeFailure(const Batch& batch, std::size_t index, const Since& since);
  void DisownSecond(std::uint64_t batch, const model::Op& op, std::vector<catalogue::Effect>* effects);
  // Where the target has a node, with what is acknowledged and not committed yet; nullopt: it has no such node.
  std::optional<std::vector<std::string>> AckedPlacesOf(const model::FileId& node);
  // The catalogue with what is acknowledged and not committed yet.
  const catalogue::Expected& Acked();
  std::vector<catalogue::Effect> EffectsOf(const plan::Step& step, const OpResult& result);
  void LeaveBehind(const plan::Step& link);
  void DoubtTimes(const model::FileId& dir);
  void AddRetry(const model::Change& change, const std::string& path, const absl::Status& status, const Since& since);
  void LookAgain(const model::Change& change, std::int64_t delay_ns, const Since& since);
  // `retry` without what it is done for: that is added.
  void Retry(catalogue::PendingSet::Retry retry, const Since& since);
  static catalogue::PendingSet::Retry AsOldAs(const Since& since, catalogue::PendingSet::Retry retry);
  bool AnythingToCommit() const;
  bool CommitDue() const;
  absl::Status Commit();
  void NoteEstablished();
  static std::string KeyOf(const model::Change& change);

  Options options_;
  scan::Selection selection_;
  std::unique_ptr<catalogue::PendingSet> pending_;
  std::unique_ptr<catalogue::Catalogue> catalogue_;
  Identity identity_;
  bool adopting_;  // until a connection has seen it through
  catalogue::Expected expected_;
  Scanner scanner_;
  Condenser condenser_;
  Auditor auditor_;
  bool scanning_all_ = false;  // a walk from the root is under way
  Traffic traffic_;
  // Under which the watch remembers the pending set; 0: it does not.
  std::atomic<std::uint64_t> token_ = 0;

  // Between threads, guarded by mutex_ where said.
  std::condition_variable wakeup_;
  bool woken_ = false;             // guarded by mutex_
  bool stopping_ = false;          // guarded by mutex_
  std::string halt_request_;       // guarded by mutex_
  HaltCause halt_request_cause_ = HaltCause::kStore;  // guarded by mutex_
  // Changes were told and not noted since this sequence number: a scan is due. Guarded by mutex_.
  std::optional<std::uint64_t> lost_since_;
  bool retry_now_ = false;         // guarded by mutex_
  bool approve_request_ = false;   // guarded by mutex_
  std::deque<SessionEvent> events_;  // guarded by mutex_
  Progress progress_;              // guarded by mutex_: as published
  std::thread thread_;
  Inquiries inquiries_{[this] { Wake(); }};
  std::mutex verifying_;                 // held by the one verification
  std::vector<Repair> repairs_;          // guarded by mutex_: asked for and not noted yet
  std::condition_variable repaired_;
  std::optional<std::uint64_t> audit_passed_;  // guarded by mutex_: a verification that is an audit was through, and found so many
  std::optional<absl::Status> repair_outcome_;  // guarded by mutex_: of repairs_

  // Of the planning thread alone.
  State state_ = State::kConnecting;
  std::unique_ptr<Session> session_;
  bool ready_ = false;                // connected, and catalogue and target agree
  Reconnect reconnect_;
  std::int64_t connected_ns_ = 0;     // since when there is a connection; 0: none
  HaltCause halt_cause_ = HaltCause::kNone;
  std::uint64_t next_batch_ = 1;
  std::uint64_t next_round_ = 1;
  std::uint64_t next_list_ = 1;
  std::size_t under_way_ = 0;         // batches sent and not acknowledged
  std::int64_t looked_ns_ = 0;        // when names were looked at last, but for what walks found
  std::uint64_t scans_told_ = 0;      // of those that are through
  bool drain_ = false;                // a failure is to be dealt with before anything new is planned
  std::uint64_t settled_batch_ = 0;   // failures up to here are dealt with
  // While the target is listed because it is not known what was under way: of the catalogue before, until all is listed.
  std::optional<Learner::Vouched> vouched_;
  Doubts doubts_;                     // to be listed when all that is under way is acknowledged
  plan::DeleteGuard guard_;
  std::uint64_t held_ = 0;              // entries that are held back, as last counted
  std::int64_t recount_ns_ = 0;         // not to be counted again before
  std::uint64_t approved_through_ = 0;  // deletes of changes up to this sequence number are approved; 0: none
  bool walk_waits_ = false;             // for a round of its own
  bool release_held_ = true;            // held entries are to be looked at anew
  std::deque<std::unique_ptr<Batch>> outbox_;  // planned, their intents not recorded yet
  std::vector<catalogue::PendingSet::Entry> given_back_;  // of a lost connection, not released yet
  std::string shortage_;              // why our state could not be written; empty: it can
  std::int64_t keep_at_ns_ = 0;       // with a shortage: when it is tried again
  int shortages_ = 0;                 // in a row
  std::deque<catalogue::PendingSet::Entry> taken_;  // from the pending set, not in a round yet
  std::list<ProofHandle> proofs_;     // not let go yet: given back when the connection is lost
  std::deque<Deferred> deferred_;     // by ascending batch
  std::map<std::string, int> attempts_;  // failures in a row of changes under way (bounded by what was taken)

  // Acknowledged and not committed to the catalogue yet.
  std::vector<catalogue::Effect> acked_effects_;
  std::uint64_t acked_batch_ = 0;
  std::uint64_t acked_round_ = 0;
  std::int64_t acked_since_ns_ = 0;
  std::vector<catalogue::PendingSet::Entry> proved_;
  std::vector<catalogue::PendingSet::Retry> retries_;
  catalogue::Expected acked_;        // with the first acked_applied_ of acked_effects_: Acked()
  std::size_t acked_applied_ = 0;
  Progress counters_;                 // acked_*, failed_ops, batches
  std::string connection_error_;
  // When the target did or took anything last, and how much had been produced for it by then.
  std::int64_t moved_ns_ = 0;
  std::uint64_t moved_bytes_ = 0;
  bool listing_ = false;  // the target was asked for a listing
};

}  // namespace fanmirror::replicate
