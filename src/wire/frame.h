#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/metadata.h"

namespace fanmirror::wire {

// The bytes between the source and a receiver.
//
//   receiver -> source:  noise? banner frame*
//   source -> receiver:  frame*
//   noise   = what start files of a login shell print, at most kMaxNoiseBytes
//   banner  = "fanmirror-receiver 1\n"
//   frame   = length:u32le type:u8 payload[length]        length <= kMaxPayloadBytes
//   payload = of kData:     offset:u64le bytes*           at least one byte, at most kMaxDataBytes
//             of kPutEnd:   hash.low:u64le hash.high:u64le raced:u8      raced is 0 or 1
//             of kPutAbort: nothing
//             of all other types: the message of that name in messages.proto
//
// The banner tells the receiver from whatever else the far side's shell may say; its number is that of this
// framing. What the messages mean is versioned by Hello.protocol. The legal order of frames is in
// conversation.h.
inline constexpr std::string_view kBanner = "fanmirror-receiver 1\n";

// The version of messages.proto and of the conversation; both sides must have the same.
inline constexpr std::uint32_t kProtocol = 2;

// Bytes of file content in one kData frame: large enough that the work per frame does not count at 1 GB/s,
// small enough that two of them fit the caches and a put of another file is never held up for long.
inline constexpr std::size_t kMaxDataBytes = std::size_t{1} << 20;

// Bytes of one payload: a full kData, or an op with 64 KiB xattrs and long paths. Bounds what a peer can make
// us hold.
inline constexpr std::size_t kMaxPayloadBytes = kMaxDataBytes + (std::size_t{64} << 10);

// Bytes of noise that are looked through for the banner: more than any message of the day.
inline constexpr std::size_t kMaxNoiseBytes = std::size_t{64} << 10;

inline constexpr std::size_t kFrameHeaderBytes = 5;
inline constexpr std::size_t kDataHeaderBytes = 8;  // the offset in a kData payload

enum class FrameType : std::uint8_t {
  kHello = 1,
  kHelloReply = 2,
  kBatchBegin = 3,
  kBatchEnd = 4,
  kOp = 5,
  kData = 6,
  kPutEnd = 7,
  kPutAbort = 8,
  kAck = 9,
  kList = 10,
  kListing = 11,
  kPing = 12,  // says that the sender lives; the receiver answers with the same
  kHashFile = 13,
  kFileHash = 14,
};

// "Hello", "PutEnd", ... for messages; "unknown".
std::string_view FrameTypeName(FrameType type);

struct Frame {
  FrameType type = FrameType::kHello;
  std::string_view payload;  // into the decoder's buffer: valid until its next Space or Feed
};

struct DataFrame {
  std::uint64_t offset = 0;
  std::string_view bytes;  // into the payload
};

struct PutEnd {
  model::ContentHash hash;
  bool raced = false;  // the file moved while it was read: what was sent may be a mixture
};

// Each appends one whole frame to `out`. The encoders of the messages are in messages.h.
void AppendFrame(FrameType type, std::string_view payload, std::string* out);
// `bytes`: 1 to kMaxDataBytes.
void AppendData(std::uint64_t offset, absl::Span<const char> bytes, std::string* out);
// Only the headers of a kData frame of `size` bytes of content, which the caller sends next from where they
// lie.
void AppendDataHeader(std::uint64_t offset, std::size_t size, std::string* out);
void AppendPutEnd(const PutEnd& end, std::string* out);
void AppendPutAbort(std::string* out);

// Errors are kReconnect: the peer does not speak our language.
absl::StatusOr<DataFrame> ParseData(std::string_view payload);
absl::StatusOr<PutEnd> ParsePutEnd(std::string_view payload);
absl::Status ParsePutAbort(std::string_view payload);

// Takes frames out of a stream of bytes that may be cut anywhere. Memory is bounded by a constant of about
// three payloads. One thread; never blocks. Use:
//   read into Space(), tell Fed(n), call Next() until it gives nothing; again.
class Decoder {
 public:
  enum class Start {
    kAtFrame,       // frames from the first byte on (the receiver's side)
    kBeforeBanner,  // noise and the banner first (the source's side)
  };
  explicit Decoder(Start start);

  // Where the next bytes are to be put; never empty once Next() has given nothing. Frames given before are
  // void.
  absl::Span<char> Space();
  // `count` bytes were put at the beginning of Space().
  void Fed(std::size_t count);
  // Copies as much of `bytes` as there is room for, and returns how much that was.
  std::size_t Feed(std::string_view bytes);

  // The next whole frame, or nothing: more bytes are needed. An error (kReconnect) is final: it is given
  // again.
  absl::StatusOr<std::optional<Frame>> Next();

  // False until the banner was found.
  bool banner_seen() const { return banner_seen_; }
  // What came before the banner, for the message that it never came: the last bytes, as one quoted line.
  std::string Noise() const;
  // True between frames: an end of the input here is an orderly one.
  bool at_boundary() const { return begin_ == end_; }

 private:
  absl::Status FindBanner();

  std::unique_ptr<char[]> buffer_;
  std::size_t begin_ = 0;  // of what is not given yet
  std::size_t end_ = 0;    // of what was fed
  bool banner_seen_;
  std::string noise_;
  absl::Status failed_;
};

}  // namespace fanmirror::wire
