#include "replicate/sender.h"

#include <utility>
#include <variant>

#include "model/failure.h"
#include "wire/frame.h"

namespace fanmirror::replicate {

using model::NodeType;
using model::Op;
using model::Reaction;

namespace {

constexpr const char* kMoved = "moved out of the source, or to an excluded place, while it was read; it is looked at again";

bool NeedsReading(const Op& op) {
  return op.kind == Op::Kind::kMake || op.kind == Op::Kind::kPut || op.kind == Op::Kind::kSetMetadata;
}

read::Request RequestFor(const Op& op) {
  return {.id = op.node,
          .content = op.kind == Op::Kind::kPut,
          .check_content = op.check_content,
          .known_hash = op.known_hash,
          .names = op.names,
          .path = op.path};
}

}  // namespace

absl::StatusOr<std::unique_ptr<Sender>> Sender::Create(const os::Tree* tree, read::Belongs belongs) {
  auto reader = read::Reader::Create(tree, std::move(belongs));
  if (!reader.ok()) return reader.status();
  return std::unique_ptr<Sender>(new Sender(*std::move(reader)));
}

// Directories' times follow everything: they are not what people wait for.
void Sender::ShowPath(const Op& op) {
  if (op.kind != Op::Kind::kSetMetadata || op.type != NodeType::kDirectory) last_path_ = op.path;
}

void Sender::SubmitAhead() {
  while (submit_batch_ < batches_.size() && reader_->Accepts()) {
    const Batch& ahead = *batches_[submit_batch_].batch;
    if (submit_step_ == ahead.steps.size()) {
      ++submit_batch_;
      submit_step_ = 0;
      continue;
    }
    const Op& op = ahead.steps[submit_step_].op;
    if (NeedsReading(op)) reader_->Submit(RequestFor(op));
    ++submit_step_;
  }
}

void Sender::Produce(std::size_t limit, bool until_batch_end, std::string* out) {
  while (HasWork() && out->size() < limit) {
    SubmitAhead();
    Held& held = batches_[encode_batch_];
    if (!held.begun) {
      wire::AppendBatchBegin({.number = batch().number, .settled = batch().settled}, out);
      batch().results.resize(batch().steps.size());
      held.begun = true;
    } else if (encode_step_ == batch().steps.size()) {
      wire::AppendBatchEnd(batch().number, out);
      ++encode_batch_;
      encode_step_ = 0;
      if (until_batch_end) return;
    } else {
      ProduceOp(out);
    }
  }
}

void Sender::ProduceOp(std::string* out) {
  const Op& op = step().op;
  if (NeedsReading(op)) {
    TakePart(reader_->Next(), out);
    return;
  }
  ShowPath(op);
  const absl::Status status = wire::AppendOp(op, out);
  if (status.ok()) {
    CountSent();
  } else {
    result().kind = OpResult::Kind::kFailed;
    result().status = status;
  }
  FinishOp();
}

void Sender::TakePart(read::Part part, std::string* out) {
  if (const auto* begin = std::get_if<read::Begin>(&part)) {
    OnBegin(*begin, out);
  } else if (const auto* data = std::get_if<read::Data>(&part)) {
    if (putting_) wire::AppendData(data->offset, data->bytes, out);
  } else if (const auto* end = std::get_if<read::End>(&part)) {
    OnEnd(*end, out);
  } else if (result().read && result().kind == OpResult::Kind::kApplied && !putting_) {
    // It was sent as it was at its beginning, and is applied; only whether it changed meanwhile is not known.
    result().raced = result().record.racy = true;
    FinishOp();
  } else if (std::holds_alternative<read::Gone>(part)) {
    Abandon(OpResult::Kind::kGone, model::Failure(Reaction::kLookAgain, "gone from the source"), out);
  } else if (std::holds_alternative<read::Moved>(part)) {
    Abandon(OpResult::Kind::kMoved, model::Failure(Reaction::kLookAgain, kMoved), out);
  } else {
    Abandon(OpResult::Kind::kFailed, std::get<read::Failed>(part).status, out);
  }
}

void Sender::OnBegin(const read::Begin& begin, std::string* out) {
  Op op = step().op;
  ShowPath(op);
  op.type = begin.metadata.type;
  if (op.kind == Op::Kind::kPut && begin.unchanged) op.kind = Op::Kind::kSetMetadata;
  OpResult& outcome = result();
  outcome.read = true;
  outcome.record.metadata = begin.metadata;
  const absl::Status status = wire::AppendOp(op, begin.metadata, begin.xattrs, begin.symlink_target, out);
  if (!status.ok()) {
    outcome.kind = OpResult::Kind::kFailed;  // its parts still come, and are dropped
    outcome.status = status;
    return;
  }
  CountSent();
  putting_ = op.kind == Op::Kind::kPut;
  outcome.content_sent = putting_;
}

void Sender::OnEnd(const read::End& end, std::string* out) {
  OpResult& outcome = result();
  if (putting_) wire::AppendPutEnd({.hash = end.hash, .raced = end.raced}, out);
  outcome.raced = end.raced;
  outcome.content_read = step().op.kind == Op::Kind::kPut && outcome.record.metadata.type == NodeType::kRegular;
  outcome.record.racy = end.racy || end.raced;
  if (outcome.content_read) {
    outcome.record.content = end.hash;
    outcome.record.content_known = true;
  }
  FinishOp();
}

void Sender::Abandon(OpResult::Kind kind, absl::Status status, std::string* out) {
  OpResult& outcome = result();
  if (putting_) {
    wire::AppendPutAbort(out);
  } else if (outcome.kind == OpResult::Kind::kApplied && step().op.kind != Op::Kind::kSetMetadata) {
    Op poison;
    poison.kind = Op::Kind::kPut;
    poison.path = step().op.path;
    model::Metadata nothing;
    if (!poison.path.empty() && wire::AppendOp(poison, nothing, {}, "", out).ok()) {
      CountSent();
      wire::AppendPutAbort(out);
    }
  }
  outcome.kind = kind;
  outcome.status = std::move(status);
  FinishOp();
}

absl::StatusOr<std::unique_ptr<Batch>> Sender::Acknowledge(const wire::Ack& ack) {
  if (encode_batch_ == 0 || batches_.front().batch->number != ack.number) {
    return model::Failure(Reaction::kReconnect, "the receiver acknowledged batch " + std::to_string(ack.number) +
                                                    ", which was not sent; connecting again");
  }
  Held held = std::move(batches_.front());
  batches_.pop_front();
  --encode_batch_;
  --submit_batch_;
  for (const wire::OpFailure& failure : ack.failures) {
    if (failure.index >= held.sent_steps.size()) {
      return model::Failure(Reaction::kReconnect, "the receiver reports a failure of an op that was not sent; connecting again");
    }
    OpResult& outcome = held.batch->results[held.sent_steps[failure.index]];
    if (outcome.kind != OpResult::Kind::kApplied) continue;  // an abandoned op: ours is the reason
    outcome.kind = OpResult::Kind::kFailed;
    outcome.status = model::Failure(failure.reaction, failure.message);
    outcome.untried = failure.untried;
  }
  return std::move(held.batch);
}

}  // namespace fanmirror::replicate
