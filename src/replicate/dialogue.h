#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "link/link.h"
#include "replicate/batch.h"
#include "replicate/inquiries.h"
#include "replicate/session.h"
#include "wire/conversation.h"
#include "wire/frame.h"
#include "wire/messages.h"

namespace fanmirror::replicate {

class Sender;

// The source's side of one conversation, in turns that never wait for the link. Its events go to on_event of the options,
// but for Lost: the end is its driver's to tell. One thread.
class Dialogue {
 public:
  // So long may the start of the receiver take, until it says that it is one: a shell's start files, a loaded host.
  static constexpr absl::Duration kBannerTimeout = absl::Seconds(60);

  // The Hello is ready to go. `options` outlives the dialogue.
  static absl::StatusOr<std::unique_ptr<Dialogue>> Begin(const SessionOptions& options);
  ~Dialogue();

  void Send(std::unique_ptr<Batch> batch) { batches_.push_back(std::move(batch)); }
  void Ask(Question question) { questions_.push_back(std::move(question)); }

  // Produces, writes and reads as much as goes at once; blocks for the source's disk only. Whether bytes moved: if not, it
  // is time to rest. An error is the end of the conversation.
  absl::StatusOr<bool> Turn(link::Link* link);
  // What to wait for before the next turn.
  struct Rest {
    bool want_write = false;
    bool full = false;  // nothing is read for want of room: input is no reason to wake
    absl::Duration timeout;
  };
  Rest NextRest(const link::Link& link);

 private:
  Dialogue(const SessionOptions& options, std::unique_ptr<Sender> sender);
  void TakeCommands();
  void SendQuestions();
  void Produce();
  absl::StatusOr<bool> WriteSome(link::Link* link);
  absl::StatusOr<bool> ReadSome(link::Link* link);
  bool HasRoom() const { return !options_.has_room || options_.has_room(); }
  // Gives whole frames that were read, while there is room for what they tell. Whether there was one.
  absl::StatusOr<bool> GiveFrames();
  absl::Status OnFrame(const wire::Frame& frame);
  absl::Status OnHelloReply(const wire::Frame& frame);
  absl::Status KeepAlive();
  absl::Duration IdlePause() const;
  absl::Duration Allowance(std::size_t* bytes);

  const SessionOptions& options_;
  std::unique_ptr<Sender> sender_;
  std::deque<std::unique_ptr<Batch>> batches_;
  std::deque<Question> questions_;
  wire::Decoder decoder_{wire::Decoder::Start::kBeforeBanner};
  wire::SourceConversation conversation_;
  std::string out_;
  std::size_t written_ = 0;  // of out_
  bool greeted_ = false;
  std::int64_t begun_ns_ = 0;
  std::int64_t heard_ns_ = 0;   // when anything arrived
  std::int64_t spoken_ns_ = 0;  // when the link took anything
  std::uint64_t pings_ = 0;
  double tokens_ = 0;  // bytes that may be sent now, under a bandwidth limit
  absl::Time tokens_at_;
};

}  // namespace fanmirror::replicate
