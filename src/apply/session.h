#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "apply/applier.h"
#include "apply/hasher.h"
#include "apply/home.h"
#include "apply/output.h"
#include "apply/poison.h"
#include "apply/put.h"
#include "apply/root.h"
#include "apply/staged_files.h"
#include "apply/staging.h"
#include "apply/syncer.h"
#include "wire/conversation.h"
#include "wire/frame.h"
#include "wire/messages.h"

namespace fanmirror::apply {

// One connection of a source: the bytes that arrive are checked against the conversation, then done. It reads no
// descriptor. One thread, beside those of the Syncer and the Hasher. After an error the connection is over.
class Session {
 public:
  struct Options {
    absl::StatusOr<std::unique_ptr<Root>>
        root;                  // or why there is none: the source is told when it says hello
    Output* output = nullptr;  // outlives the session
    // Called with the source's Hello before it is looked at, which may take long. May be empty.
    std::function<void(const wire::Hello&)> on_hello = {};
    std::function<std::unique_ptr<Syncer>(Syncer::Calls)> make_syncer;
  };
  explicit Session(Options options);

  // Before anything arrived: says that a receiver is here.
  absl::Status Greet();
  // Where the next bytes go, never empty; then Fed tells how many there are.
  absl::Span<char> Space() { return decoder_.Space(); }
  absl::Status Fed(std::size_t bytes);
  // The input ended. OK when the source was at rest and all is durable.
  absl::Status End();
  // Readable once a sync failed: then TakeSyncFailure tells what. -1 before the Hello.
  int sync_failed_fd() const { return syncer_ ? syncer_->failed_fd() : -1; }
  absl::Status TakeSyncFailure() { return syncer_->Drain(); }

 private:
  absl::Status Take(const wire::Frame& frame);

  absl::Status OnHello(const wire::Hello& hello);
  absl::Status Admit(const wire::Hello& hello, wire::HelloReply* reply);
  absl::Status CheckWantedRoot(const wire::Hello& hello) const;
  void Start();
  absl::Status OnBatchBegin(const wire::BatchBegin& begin);
  absl::Status OnBatchEnd(std::uint64_t number);
  absl::Status OnOp(wire::ReceivedOp op);
  absl::Status OnData(const wire::DataFrame& data);
  absl::Status OnPutEnd(const wire::PutEnd& end);
  absl::Status OnPutAbort();
  absl::Status OnList(const wire::List& list);
  absl::Status OnHashFile(const wire::HashFile& hash_file);
  absl::Status OnPing(const wire::Ping& ping);

  absl::Status Objection(const model::Op& op) const;
  // Whether an op that failed before makes this one's outcome doubtful.
  bool IsPoisoned(const model::Op& op) const;
  absl::Status Do(wire::ReceivedOp op);
  // Gives the files that are complete their names. Before any op that one of them decides, and before the
  // batch ends.
  void PlaceStaged();
  // Of the op under way, in its batch.
  std::uint32_t op_index() const { return conversation_.ops() - 1; }
  void Record(const model::Op& op, std::uint32_t index, const absl::Status& status);

  Options options_;
  std::unique_ptr<Root> root_;  // null where there is none
  wire::Decoder decoder_;
  wire::ReceiverConversation conversation_;

  // From the Hello on.
  std::unique_ptr<Home> home_;
  std::optional<Staging> staging_;
  std::optional<Applier> applier_;
  std::optional<Put> put_;
  std::optional<StagedFiles> staged_;
  Poison poison_;
  std::vector<wire::OpFailure> failures_;  // of the batch under way
  model::Op put_op_;                       // of the put under way
  bool put_failed_ = false;                // what is still to come of it is dropped
  std::unique_ptr<Syncer> syncer_;         // last but the hasher: their threads use the others
  std::optional<Hasher> hasher_;           // from the first HashFile on
};

}  // namespace fanmirror::apply
