#include "replicate/dialogue.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "model/failure.h"
#include "os/clock.h"
#include "replicate/sender.h"

namespace fanmirror::replicate {

using model::Failure;
using model::Reaction;

namespace {

// What libssh sends best at once: 8 packets of 32,758 bytes.
constexpr std::size_t kWriteBytes = 262'064;
// Frames are produced ahead of the link up to here: the link never waits for us, and memory stays small.
constexpr std::size_t kProduceBytes = 4 * kWriteBytes;
// A burst under a bandwidth limit lasts so long at most.
constexpr double kBurstSeconds = 0.1;

}  // namespace

Dialogue::Dialogue(const SessionOptions& options, std::unique_ptr<Sender> sender)
    : options_(options), sender_(std::move(sender)) {
  begun_ns_ = heard_ns_ = spoken_ns_ = os::BoottimeNs();
  tokens_at_ = absl::Now();
  wire::AppendHello(options_.hello, &out_);
}

Dialogue::~Dialogue() = default;

absl::StatusOr<std::unique_ptr<Dialogue>> Dialogue::Begin(const SessionOptions& options) {
  auto sender = Sender::Create(options.tree, options.belongs);
  if (!sender.ok()) return sender.status();
  return std::unique_ptr<Dialogue>(new Dialogue(options, *std::move(sender)));
}

void Dialogue::TakeCommands() {
  if (!greeted_) return;
  if (sender_->BetweenBatches()) SendQuestions();
  for (; !batches_.empty(); batches_.pop_front()) {
    conversation_.SentBatchEnd(batches_.front()->number);
    sender_->Queue(std::move(batches_.front()));
  }
}

void Dialogue::SendQuestions() {
  for (; !questions_.empty(); questions_.pop_front()) {
    if (const auto* list = std::get_if<wire::List>(&questions_.front())) {
      wire::AppendList(*list, &out_);
      conversation_.SentList(list->id, list->one_page);
      continue;
    }
    if (conversation_.hash_files() >= wire::kMaxHashFiles) return;  // until an answer comes
    const auto& file = std::get<wire::HashFile>(questions_.front());
    wire::AppendHashFile(file, &out_);
    conversation_.SentHashFile(file.id);
  }
}

void Dialogue::Produce() {
  if (out_.size() - written_ >= kWriteBytes || !sender_->HasWork()) return;
  out_.erase(0, written_);
  written_ = 0;
  const std::size_t before = out_.size();
  sender_->Produce(kProduceBytes, /*until_batch_end=*/!questions_.empty(), &out_);
  options_.traffic->produced += out_.size() - before;
  if (sender_->last_path().empty()) return;
  std::lock_guard lock(options_.traffic->mutex);
  options_.traffic->last_path = sender_->last_path();
}

absl::StatusOr<bool> Dialogue::Turn(link::Link* link) {
  TakeCommands();
  Produce();
  const auto wrote = WriteSome(link);
  if (!wrote.ok()) return wrote.status();
  const auto read = ReadSome(link);
  if (!read.ok()) return read.status();
  if (absl::Status status = KeepAlive(); !status.ok()) return status;
  return *wrote || *read;
}

Dialogue::Rest Dialogue::NextRest(const link::Link& link) {
  std::size_t allowed = out_.size() - written_;
  const bool want_write = allowed > 0 || link.WritePending();
  const absl::Duration pause = Allowance(&allowed);
  const bool throttled = want_write && allowed == 0 && !link.WritePending();
  return {.want_write = want_write && !throttled, .full = !HasRoom(), .timeout = throttled ? pause : IdlePause()};
}

// How long to wait before more may be sent; `bytes` is cut to what may be sent now.
absl::Duration Dialogue::Allowance(std::size_t* bytes) {
  if (options_.bandwidth_limit == 0) return absl::ZeroDuration();
  const absl::Time now = absl::Now();
  const double rate = static_cast<double>(options_.bandwidth_limit);
  tokens_ = std::min(tokens_ + rate * absl::ToDoubleSeconds(now - tokens_at_), rate * kBurstSeconds);
  tokens_at_ = now;
  if (tokens_ < 1) *bytes = 0;
  *bytes = std::min(*bytes, static_cast<std::size_t>(std::max(tokens_, 0.0)));
  return absl::Seconds(kBurstSeconds / 2);
}

absl::StatusOr<bool> Dialogue::WriteSome(link::Link* link) {
  std::size_t size = std::min(out_.size() - written_, kWriteBytes);
  Allowance(&size);
  if (size == 0) return false;
  const auto taken = link->Write(absl::MakeConstSpan(out_).subspan(written_, size));
  if (!taken.ok()) return taken.status();
  written_ += *taken;
  tokens_ -= static_cast<double>(*taken);
  options_.traffic->bytes_sent += *taken;
  if (*taken > 0) spoken_ns_ = os::BoottimeNs();
  if (written_ == out_.size()) {
    out_.clear();
    written_ = 0;
  }
  return *taken > 0;
}

absl::StatusOr<bool> Dialogue::ReadSome(link::Link* link) {
  if (auto given = GiveFrames(); !given.ok() || *given) return given;
  if (!HasRoom()) {
    heard_ns_ = os::BoottimeNs();  // it is we who do not listen
    return false;
  }
  const auto count = link->Read(decoder_.Space());
  if (!count.ok()) {
    if (decoder_.banner_seen() || decoder_.Noise().empty()) return count.status();
    return Failure(Reaction::kReconnect, std::string(count.status().message()) + "; the far side said " + decoder_.Noise());
  }
  if (*count == 0) return false;
  heard_ns_ = os::BoottimeNs();
  options_.traffic->bytes_received += *count;
  decoder_.Fed(*count);
  if (auto given = GiveFrames(); !given.ok()) return given;
  return true;
}

absl::StatusOr<bool> Dialogue::GiveFrames() {
  for (bool given = false;; given = true) {
    if (!HasRoom()) return given;
    auto frame = decoder_.Next();
    if (!frame.ok()) return frame.status();
    if (!*frame) return given;
    if (absl::Status status = OnFrame(**frame); !status.ok()) return status;
  }
}

absl::Status Dialogue::OnFrame(const wire::Frame& frame) {
  switch (frame.type) {
    case wire::FrameType::kHelloReply:
      return OnHelloReply(frame);
    case wire::FrameType::kAck: {
      auto ack = wire::ParseAck(frame.payload);
      if (!ack.ok()) return ack.status();
      if (absl::Status status = conversation_.OnAck(*ack); !status.ok()) return status;
      auto batch = sender_->Acknowledge(*ack);
      if (!batch.ok()) return batch.status();
      options_.on_event(Acknowledged{*std::move(batch)});
      return absl::OkStatus();
    }
    case wire::FrameType::kListing: {
      auto listing = wire::ParseListing(frame.payload);
      if (!listing.ok()) return listing.status();
      if (absl::Status status = conversation_.OnListing(*listing); !status.ok()) return status;
      options_.on_event(Answered{*std::move(listing)});
      return absl::OkStatus();
    }
    case wire::FrameType::kFileHash: {
      auto hash = wire::ParseFileHash(frame.payload);
      if (!hash.ok()) return hash.status();
      if (absl::Status status = conversation_.OnFileHash(*hash); !status.ok()) return status;
      options_.on_event(Answered{*std::move(hash)});
      return absl::OkStatus();
    }
    case wire::FrameType::kPing:
      return absl::OkStatus();
    default:
      return Failure(Reaction::kReconnect, "the receiver sent a frame of type " +
                                               std::string(wire::FrameTypeName(frame.type)) +
                                               ", which only a source sends; connecting again");
  }
}

absl::Status Dialogue::OnHelloReply(const wire::Frame& frame) {
  if (absl::Status status = conversation_.OnHelloReply(); !status.ok()) return status;
  auto reply = wire::ParseHelloReply(frame.payload);
  if (!reply.ok()) return reply.status();
  if (!reply->refusal.empty()) return Failure(reply->reaction, reply->refusal);
  if (reply->protocol != wire::kProtocol) {
    return Failure(Reaction::kReconnect,
                   "the receiver (fanmirror " + reply->program + ") speaks protocol " +
                       std::to_string(reply->protocol) + ", we speak " + std::to_string(wire::kProtocol) +
                       "; install the same version on both hosts");
  }
  greeted_ = true;
  options_.on_event(Connected{*std::move(reply)});
  return absl::OkStatus();
}

// Called after what has arrived was read: a silence is one of the peer, not of ours.
absl::Status Dialogue::KeepAlive() {
  const absl::Duration silence = options_.hello.silence;
  const std::int64_t now = os::BoottimeNs();
  const absl::Duration heard = absl::Nanoseconds(now - heard_ns_);
  if (!decoder_.banner_seen()) {
    // From the beginning on, whatever else it says.
    if (absl::Nanoseconds(now - begun_ns_) < kBannerTimeout) return absl::OkStatus();
    return Failure(Reaction::kReconnect, "the receiver did not answer within " + absl::FormatDuration(kBannerTimeout) +
                                             (decoder_.Noise().empty() ? "" : "; the far side said " + decoder_.Noise()) +
                                             "; see that `fanmirror receive` starts there");
  }
  if (silence == absl::ZeroDuration()) return absl::OkStatus();
  if (heard > silence) {
    return Failure(Reaction::kReconnect, "the receiver was silent for " + absl::FormatDuration(silence) +
                                             ": its host is down, or nothing gets through to it");
  }
  // Whatever else is sent says the same.
  const bool idle = !sender_->HasWork() && out_.empty();
  if (idle && absl::Nanoseconds(now - spoken_ns_) >= silence / wire::kHeartbeats) {
    wire::AppendPing({.id = ++pings_}, &out_);
  }
  return absl::OkStatus();
}

absl::Duration Dialogue::IdlePause() const {
  const absl::Duration silence = options_.hello.silence;
  return silence == absl::ZeroDuration() ? absl::Seconds(1) : std::min(absl::Seconds(1), silence / wire::kHeartbeats);
}

}  // namespace fanmirror::replicate
