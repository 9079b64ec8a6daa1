#include "wire/frame.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "model/failure.h"

namespace fanmirror::wire {
namespace {

// Bytes of what the far side said instead of the banner that a message shows.
constexpr std::size_t kShownNoiseBytes = 200;

// Free bytes below which the rest is moved to the front: a read of less would not be worth its system call.
constexpr std::size_t kMinSpaceBytes = std::size_t{256} << 10;

// Two frames: one may be half consumed while the next arrives.
constexpr std::size_t kBufferBytes = 2 * (kMaxPayloadBytes + kFrameHeaderBytes);

void PutLittleEndian(std::uint64_t value, std::size_t bytes, char* out) {
  for (std::size_t i = 0; i < bytes; ++i) out[i] = static_cast<char>(value >> (8 * i) & 0xff);
}

std::uint64_t GetLittleEndian(std::string_view in, std::size_t bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < bytes; ++i) {
    value |= std::uint64_t{static_cast<unsigned char>(in[i])} << (8 * i);
  }
  return value;
}

void AppendHeader(FrameType type, std::size_t payload, std::string* out) {
  char header[kFrameHeaderBytes];
  PutLittleEndian(payload, 4, header);
  header[4] = static_cast<char>(type);
  out->append(header, sizeof header);
}

absl::Status Malformed(FrameType type, std::string_view why) {
  return model::Failure(model::Reaction::kReconnect,
                        absl::StrCat("the peer sent a malformed ", std::string(FrameTypeName(type)),
                                     " frame: ", std::string(why)));
}

}  // namespace

std::string_view FrameTypeName(FrameType type) {
  switch (type) {
    case FrameType::kHello:
      return "Hello";
    case FrameType::kHelloReply:
      return "HelloReply";
    case FrameType::kBatchBegin:
      return "BatchBegin";
    case FrameType::kBatchEnd:
      return "BatchEnd";
    case FrameType::kOp:
      return "Op";
    case FrameType::kData:
      return "Data";
    case FrameType::kPutEnd:
      return "PutEnd";
    case FrameType::kPutAbort:
      return "PutAbort";
    case FrameType::kAck:
      return "Ack";
    case FrameType::kList:
      return "List";
    case FrameType::kListing:
      return "Listing";
    case FrameType::kPing:
      return "Ping";
    case FrameType::kHashFile:
      return "HashFile";
    case FrameType::kFileHash:
      return "FileHash";
  }
  return "unknown";
}

void AppendFrame(FrameType type, std::string_view payload, std::string* out) {
  AppendHeader(type, payload.size(), out);
  out->append(payload);
}

void AppendDataHeader(std::uint64_t offset, std::size_t size, std::string* out) {
  AppendHeader(FrameType::kData, kDataHeaderBytes + size, out);
  char bytes[kDataHeaderBytes];
  PutLittleEndian(offset, sizeof bytes, bytes);
  out->append(bytes, sizeof bytes);
}

void AppendData(std::uint64_t offset, absl::Span<const char> bytes, std::string* out) {
  AppendDataHeader(offset, bytes.size(), out);
  out->append(bytes.data(), bytes.size());
}

void AppendPutEnd(const PutEnd& end, std::string* out) {
  char payload[17];
  PutLittleEndian(end.hash.low, 8, payload);
  PutLittleEndian(end.hash.high, 8, payload + 8);
  payload[16] = end.raced ? 1 : 0;
  AppendFrame(FrameType::kPutEnd, {payload, sizeof payload}, out);
}

void AppendPutAbort(std::string* out) { AppendFrame(FrameType::kPutAbort, {}, out); }

absl::StatusOr<DataFrame> ParseData(std::string_view payload) {
  if (payload.size() <= kDataHeaderBytes) return Malformed(FrameType::kData, "no content");
  if (payload.size() > kDataHeaderBytes + kMaxDataBytes) {
    return Malformed(FrameType::kData, absl::StrCat("more than ", kMaxDataBytes, " bytes"));
  }
  const DataFrame data{GetLittleEndian(payload, 8), payload.substr(kDataHeaderBytes)};
  // off_t of the receiver's kernel is signed.
  constexpr std::uint64_t kMaxFileBytes = INT64_MAX;
  if (data.offset > kMaxFileBytes - data.bytes.size())
    return Malformed(FrameType::kData, "an offset beyond 2^63");
  return data;
}

absl::StatusOr<PutEnd> ParsePutEnd(std::string_view payload) {
  if (payload.size() != 17) return Malformed(FrameType::kPutEnd, "its size is not 17 bytes");
  const auto raced = static_cast<unsigned char>(payload[16]);
  if (raced > 1) return Malformed(FrameType::kPutEnd, "`raced` is neither 0 nor 1");
  return PutEnd{{GetLittleEndian(payload, 8), GetLittleEndian(payload.substr(8), 8)}, raced == 1};
}

absl::Status ParsePutAbort(std::string_view payload) {
  if (!payload.empty()) return Malformed(FrameType::kPutAbort, "it has a payload");
  return absl::OkStatus();
}

Decoder::Decoder(Start start)
    : buffer_(std::make_unique_for_overwrite<char[]>(kBufferBytes)), banner_seen_(start == Start::kAtFrame) {}

absl::Span<char> Decoder::Space() {
  if (begin_ == end_) {
    begin_ = end_ = 0;
  } else if (kBufferBytes - end_ < kMinSpaceBytes) {
    // Less than one frame is left over, since Next gave nothing: more than that is free afterwards.
    std::memmove(buffer_.get(), buffer_.get() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  return absl::MakeSpan(buffer_.get() + end_, kBufferBytes - end_);
}

void Decoder::Fed(std::size_t count) { end_ += count; }

std::size_t Decoder::Feed(std::string_view bytes) {
  const absl::Span<char> space = Space();
  const std::size_t count = std::min(space.size(), bytes.size());
  std::memcpy(space.data(), bytes.data(), count);
  Fed(count);
  return count;
}

absl::StatusOr<std::optional<Frame>> Decoder::Next() {
  if (failed_.ok() && !banner_seen_) failed_ = FindBanner();
  if (!failed_.ok()) return failed_;
  const std::string_view rest(buffer_.get() + begin_, end_ - begin_);
  if (!banner_seen_ || rest.size() < kFrameHeaderBytes) return std::nullopt;
  const std::uint64_t length = GetLittleEndian(rest, 4);
  const auto type = static_cast<FrameType>(rest[4]);
  if (length > kMaxPayloadBytes || FrameTypeName(type) == "unknown") {
    failed_ =
        model::Failure(model::Reaction::kReconnect,
                       absl::StrCat("the peer sent what is no frame (type ",
                                    static_cast<int>(static_cast<unsigned char>(rest[4])), ", ", length,
                                    " bytes): the stream is broken, or the far side runs another version"));
    return failed_;
  }
  if (rest.size() < kFrameHeaderBytes + length) return std::nullopt;
  begin_ += kFrameHeaderBytes + length;
  return Frame{type, rest.substr(kFrameHeaderBytes, length)};
}

absl::Status Decoder::FindBanner() {
  const std::string_view rest(buffer_.get() + begin_, end_ - begin_);
  const std::size_t at = rest.find(kBanner);
  noise_.assign(rest.substr(0, at));
  if (at != std::string_view::npos && at <= kMaxNoiseBytes) {
    begin_ += at + kBanner.size();
    banner_seen_ = true;
    return absl::OkStatus();
  }
  if (at == std::string_view::npos && rest.size() < kMaxNoiseBytes + kBanner.size()) return absl::OkStatus();
  return model::Failure(
      model::Reaction::kReconnect,
      absl::StrCat("the far side never said '", std::string(kBanner.substr(0, kBanner.size() - 1)), "' but ",
                   Noise(), "; does a start file of its shell print, or is fanmirror ", "missing there?"));
}

std::string Decoder::Noise() const {
  std::string_view shown(noise_);
  while (!shown.empty() && (shown.back() == '\n' || shown.back() == '\r')) shown.remove_suffix(1);
  if (shown.size() > kShownNoiseBytes) shown.remove_prefix(shown.size() - kShownNoiseBytes);
  return model::QuotePath(shown);
}

}  // namespace fanmirror::wire
