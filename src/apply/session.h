#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "apply/applier.h"
#include "apply/home.h"
#include "apply/output.h"
#include "apply/poison.h"
#include "apply/put.h"
#include "apply/receiver.h"
#include "apply/root.h"
#include "apply/staging.h"
#include "apply/syncer.h"
#include "wire/conversation.h"
#include "wire/frame.h"
#include "wire/messages.h"

namespace fanmirror::apply {

// One connection of a source: what arrives is checked against the conversation, then done. One thread, beside
// the Syncer's.
class Session {
 public:
  explicit Session(ReceiverOptions options);

  // Blocks until the input ends (OK) or the connection cannot go on.
  absl::Status Run();

 private:
  absl::Status ReadSome();
  absl::Status TakeFrames();
  absl::Status Take(const wire::Frame& frame);

  absl::Status OnHello(const wire::Hello& hello);
  absl::Status Greet(const wire::Hello& hello, wire::HelloReply* reply);
  absl::Status CheckWantedRoot(const wire::Hello& hello) const;
  void Start();
  absl::Status OnBatchBegin(const wire::BatchBegin& begin);
  absl::Status OnBatchEnd(std::uint64_t number);
  absl::Status OnOp(wire::ReceivedOp op);
  absl::Status OnData(const wire::DataFrame& data);
  absl::Status OnPutEnd(const wire::PutEnd& end);
  absl::Status OnPutAbort();
  absl::Status OnList(const wire::List& list);
  absl::Status OnPing(const wire::Ping& ping);

  absl::Status Objection(const model::Op& op) const;
  // Whether an op that failed before makes this one's outcome doubtful.
  bool IsPoisoned(const model::Op& op) const;
  absl::Status Do(wire::ReceivedOp op);
  void Record(const model::Op& op, const absl::Status& status);

  ReceiverOptions options_;
  Output output_;
  wire::Decoder decoder_;
  wire::ReceiverConversation conversation_;
  bool input_ended_ = false;

  // From the Hello on.
  std::unique_ptr<Root> root_;
  std::unique_ptr<Home> home_;
  std::optional<Staging> staging_;
  std::optional<Applier> applier_;
  std::optional<Put> put_;
  Poison poison_;
  std::vector<wire::OpFailure> failures_;  // of the batch under way
  model::Op put_op_;                       // of the put under way
  bool put_failed_ = false;                // what is still to come of it is dropped
  std::optional<Syncer> syncer_;           // last: its thread uses the others
};

}  // namespace fanmirror::apply
