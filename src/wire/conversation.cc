#include "wire/conversation.h"

#include "absl/strings/str_cat.h"
#include "model/failure.h"

namespace fanmirror::wire {
namespace {

template <typename... Parts>
absl::Status Illegal(const Parts&... parts) {
  return model::Failure(model::Reaction::kReconnect,
                        absl::StrCat("the peer broke the conversation: ", parts...));
}

}  // namespace

absl::Status ReceiverConversation::OnHello() {
  if (state_ != State::kStart) return Illegal("a second Hello");
  state_ = State::kIdle;
  return absl::OkStatus();
}

absl::Status ReceiverConversation::OnBatchBegin(const BatchBegin& begin) {
  if (state_ == State::kStart) return Illegal("BatchBegin before Hello");
  if (state_ != State::kIdle) return Illegal("BatchBegin ", begin.number, " within batch ", batch_);
  if (begin.number <= batch_) return Illegal("BatchBegin ", begin.number, " after batch ", batch_);
  state_ = State::kBatch;
  batch_ = begin.number;
  ops_ = 0;
  return absl::OkStatus();
}

absl::Status ReceiverConversation::OnBatchEnd(std::uint64_t number) {
  if (state_ == State::kPut) return Illegal("BatchEnd ", number, " within a put");
  if (state_ != State::kBatch) return Illegal("BatchEnd ", number, " outside a batch");
  if (number != batch_) return Illegal("BatchEnd ", number, " for batch ", batch_);
  state_ = State::kIdle;
  return absl::OkStatus();
}

absl::Status ReceiverConversation::OnOp(const ReceivedOp& op) {
  if (state_ == State::kPut) return Illegal("Op within a put");
  if (state_ != State::kBatch) return Illegal("Op outside a batch");
  if (ops_ >= kMaxBatchOps) return Illegal("more than ", kMaxBatchOps, " ops in batch ", batch_);
  ++ops_;
  if (op.op.kind == model::Op::Kind::kPut) {
    state_ = State::kPut;
    next_offset_ = 0;
  }
  return absl::OkStatus();
}

absl::Status ReceiverConversation::OnData(const DataFrame& data) {
  if (state_ != State::kPut) return Illegal("Data outside a put");
  if (data.offset < next_offset_) return Illegal("Data for offset ", data.offset, " after ", next_offset_);
  next_offset_ = data.offset + data.bytes.size();
  return absl::OkStatus();
}

absl::Status ReceiverConversation::OnPutEnd() {
  if (state_ != State::kPut) return Illegal("the end of a put outside a put");
  state_ = State::kBatch;
  return absl::OkStatus();
}

absl::Status ReceiverConversation::OnList() const {
  if (state_ == State::kStart) return Illegal("List before Hello");
  if (state_ != State::kIdle) return Illegal("List within batch ", batch_);
  return absl::OkStatus();
}

absl::Status ReceiverConversation::OnHashFile() const {
  if (state_ == State::kStart) return Illegal("HashFile before Hello");
  if (state_ != State::kIdle) return Illegal("HashFile within batch ", batch_);
  return absl::OkStatus();
}

absl::Status ReceiverConversation::OnPing() const {
  if (state_ == State::kStart) return Illegal("Ping before Hello");
  return absl::OkStatus();
}

absl::Status SourceConversation::OnHelloReply() {
  if (greeted_) return Illegal("a second HelloReply");
  greeted_ = true;
  return absl::OkStatus();
}

absl::Status SourceConversation::OnAck(const Ack& ack) {
  if (!greeted_) return Illegal("Ack before HelloReply");
  if (ack.number > last_sent_) return Illegal("Ack ", ack.number, " of a batch that was not sent");
  if (ack.number <= last_acked_) return Illegal("Ack ", ack.number, " after Ack ", last_acked_);
  last_acked_ = ack.number;
  return absl::OkStatus();
}

absl::Status SourceConversation::OnListing(const Listing& listing) {
  if (!greeted_) return Illegal("Listing before HelloReply");
  const auto asked = lists_.find(listing.id);
  if (asked == lists_.end()) return Illegal("Listing ", listing.id, " that was not asked for");
  // Else a listing could go on for ever and say nothing.
  if (!listing.last && listing.entries.empty()) return Illegal("Listing ", listing.id, " without an entry or an end");
  if (listing.last || asked->second) lists_.erase(asked);
  return absl::OkStatus();
}

absl::Status SourceConversation::OnFileHash(const FileHash& file_hash) {
  if (!greeted_) return Illegal("FileHash before HelloReply");
  if (hash_files_.empty() || hash_files_.front() != file_hash.id) {
    return Illegal("FileHash ", file_hash.id, " that was not asked for, or not next");
  }
  hash_files_.pop_front();
  return absl::OkStatus();
}

}  // namespace fanmirror::wire
