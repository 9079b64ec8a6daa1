#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "read/reader.h"
#include "replicate/batch.h"
#include "wire/messages.h"

namespace fanmirror::replicate {

// Turns batches into frames: reads what their ops need, ahead and in order, and keeps what came of each op until the
// receiver acknowledges. Used by the session's thread.
class Sender {
 public:
  static absl::StatusOr<std::unique_ptr<Sender>> Create(const os::Tree* tree, read::Belongs belongs);

  void Queue(std::unique_ptr<Batch> batch) { batches_.push_back(std::move(batch)); }
  bool HasWork() const { return encode_batch_ < batches_.size(); }
  // Appends frames to `out` until it holds `limit` bytes (it may go over by one frame) or there is no work left, or
  // (`until_batch_end`) a batch ended.
  void Produce(std::size_t limit, bool until_batch_end, std::string* out);
  // No batch is begun and not ended.
  bool BetweenBatches() const { return !HasWork() || !batches_[encode_batch_].begun; }
  // The oldest batch, with its results, once everything of it was produced and its Ack came. An error (kReconnect) when
  // the Ack is of no batch that was sent.
  absl::StatusOr<std::unique_ptr<Batch>> Acknowledge(const wire::Ack& ack);
  bool AwaitsAck() const { return !batches_.empty() && (encode_batch_ > 0 || encode_step_ > 0 || putting_); }
  // Of the op that was begun last.
  const std::string& last_path() const { return last_path_; }

 private:
  explicit Sender(std::unique_ptr<read::Reader> reader) : reader_(std::move(reader)) {}
  void ShowPath(const model::Op& op);
  void SubmitAhead();
  // One step of the op at hand; at its end moves on to the next.
  void ProduceOp(std::string* out);
  void TakePart(read::Part part, std::string* out);
  void OnBegin(const read::Begin& begin, std::string* out);
  void OnEnd(const read::End& end, std::string* out);
  // The op does not come: the receiver is told of a put at its path that is aborted, so that what builds on it fails, too.
  void Abandon(OpResult::Kind kind, absl::Status status, std::string* out);
  void FinishOp() {
    ++encode_step_;
    putting_ = false;
  }
  Batch& batch() { return *batches_[encode_batch_].batch; }
  plan::Step& step() { return batch().steps[encode_step_]; }
  OpResult& result() { return batch().results[encode_step_]; }
  void CountSent() { batches_[encode_batch_].sent_steps.push_back(static_cast<std::uint32_t>(encode_step_)); }

  struct Held {
    explicit Held(std::unique_ptr<Batch> held) : batch(std::move(held)) {}
    std::unique_ptr<Batch> batch;
    std::vector<std::uint32_t> sent_steps;  // which step each op on the wire is
    bool begun = false;
  };
  class Batches : public std::deque<Held> {
   public:
    void push_back(std::unique_ptr<Batch> batch) { emplace_back(std::move(batch)); }
  };

  std::unique_ptr<read::Reader> reader_;
  Batches batches_;             // from the oldest without Ack on
  std::size_t encode_batch_ = 0;  // index of the batch that is being produced
  std::size_t encode_step_ = 0;
  std::size_t submit_batch_ = 0;  // what the reader is asked next
  std::size_t submit_step_ = 0;
  bool putting_ = false;          // a put is on the wire and not ended
  std::string last_path_;
};

}  // namespace fanmirror::replicate
