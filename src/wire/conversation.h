#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "wire/frame.h"
#include "wire/messages.h"

// The legal order of frames, as two state machines that are fed what arrives. They hold no bytes and know no
// socket. Every error is kReconnect and says what came where.
//
//   source:    Hello (batch | List | HashFile | Ping)*     at most kMaxHashFiles HashFiles without FileHash
//   batch    = BatchBegin (put | op | Ping)* BatchEnd      numbers ascend from batch to batch
//   put      = Op(kPut) (Data | Ping)* (PutEnd | PutAbort) offsets ascend, pieces do not overlap
//   receiver:  Ping* HelloReply (Ack | Listing | FileHash | Ping)*   one Ack for each ended batch, in their order; a Listing
//                                                          that is not the last of its answer has entries; one FileHash
//                                                          for each HashFile, in their order
namespace fanmirror::wire {

// What the receiver has heard. Feed every frame to it before acting on it.
class ReceiverConversation {
 public:
  absl::Status OnHello();
  absl::Status OnBatchBegin(const BatchBegin& begin);
  absl::Status OnBatchEnd(std::uint64_t number);
  absl::Status OnOp(const ReceivedOp& op);
  absl::Status OnData(const DataFrame& data);
  absl::Status OnPutEnd();  // also for PutAbort
  absl::Status OnList() const;
  absl::Status OnHashFile() const;
  absl::Status OnPing() const;
  // The input may end here without anything being cut off.
  bool AtRest() const { return state_ != State::kBatch && state_ != State::kPut; }

  // Of the batch under way.
  std::uint64_t batch() const { return batch_; }
  // Ops of it so far; the last op has this index minus one.
  std::uint32_t ops() const { return ops_; }

 private:
  enum class State { kStart, kIdle, kBatch, kPut };
  State state_ = State::kStart;
  std::uint64_t batch_ = 0;
  std::uint32_t ops_ = 0;
  std::uint64_t next_offset_ = 0;
};

// What the source has sent and heard.
class SourceConversation {
 public:
  // Sent.
  void SentBatchEnd(std::uint64_t number) { last_sent_ = number; }
  void SentList(std::uint64_t id, bool one_page = false) { lists_[id] = one_page; }
  void SentHashFile(std::uint64_t id) { hash_files_.push_back(id); }

  // Heard.
  absl::Status OnHelloReply();
  absl::Status OnAck(const Ack& ack);
  absl::Status OnListing(const Listing& listing);
  absl::Status OnFileHash(const FileHash& file_hash);
  std::size_t hash_files() const { return hash_files_.size(); }  // asked and not answered

 private:
  bool greeted_ = false;
  std::uint64_t last_sent_ = 0;
  std::uint64_t last_acked_ = 0;
  absl::flat_hash_map<std::uint64_t, bool> lists_;  // asked and not answered to the end; whether one Listing is all
  std::deque<std::uint64_t> hash_files_;      // asked and not answered, in their order
};

}  // namespace fanmirror::wire
