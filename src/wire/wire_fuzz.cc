#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "wire/conversation.h"
#include "wire/frame.h"
#include "wire/messages.h"

// A stream of bytes as either side gets it, cut anywhere: frames, messages and their order are taken or refused. What is
// taken can be said again, and is then taken again and says the same.
namespace {

using namespace fanmirror::wire;  // NOLINT: all of it is on trial

// What our side said before, so that answers to it are in order.
constexpr std::uint64_t kBatchesSent = 4;
constexpr std::uint64_t kListsSent = 4;

void Expect(bool holds) {
  if (!holds) std::abort();
}

// The payload of the one frame in `bytes`.
std::string_view Payload(std::string_view bytes) {
  Expect(bytes.size() >= kFrameHeaderBytes && bytes.size() <= kFrameHeaderBytes + kMaxPayloadBytes);
  return bytes.substr(kFrameHeaderBytes);
}

template <typename Parsed>
void ExpectStable(const Parsed& parsed, void (*append)(const Parsed&, std::string*),
                  absl::StatusOr<Parsed> (*parse)(std::string_view)) {
  std::string once, twice;
  append(parsed, &once);
  const auto again = parse(Payload(once));
  Expect(again.ok());
  append(*again, &twice);
  Expect(once == twice);
}

void ExpectStable(const ReceivedOp& received) {
  const bool tells = received.op.kind == fanmirror::model::Op::Kind::kMake ||
                     received.op.kind == fanmirror::model::Op::Kind::kPut ||
                     received.op.kind == fanmirror::model::Op::Kind::kSetMetadata;
  std::string out;
  const absl::Status told = tells ? AppendOp(received.op, received.metadata, received.xattrs, received.symlink_target, &out)
                                  : AppendOp(received.op, &out);
  // What came in one frame may be larger when it is written in full.
  if (!told.ok()) return;
  Expect(ParseOp(Payload(out)).ok());
  for (const std::string_view path : {std::string_view(received.op.path), std::string_view(received.op.from)}) {
    Expect(path.empty() || (path.front() != '/' && path.back() != '/'));
    Expect(("/" + std::string(path) + "/").find("/../") == std::string::npos);
  }
}

absl::Status AtReceiver(const Frame& frame, ReceiverConversation* conversation) {
  switch (frame.type) {
    case FrameType::kHello: {
      const auto hello = ParseHello(frame.payload);
      if (!hello.ok()) return hello.status();
      ExpectStable(*hello, AppendHello, ParseHello);
      return conversation->OnHello();
    }
    case FrameType::kBatchBegin: {
      const auto begin = ParseBatchBegin(frame.payload);
      if (!begin.ok()) return begin.status();
      ExpectStable(*begin, AppendBatchBegin, ParseBatchBegin);
      return conversation->OnBatchBegin(*begin);
    }
    case FrameType::kBatchEnd: {
      const auto number = ParseBatchEnd(frame.payload);
      return number.ok() ? conversation->OnBatchEnd(*number) : number.status();
    }
    case FrameType::kOp: {
      const auto op = ParseOp(frame.payload);
      if (!op.ok()) return op.status();
      ExpectStable(*op);
      return conversation->OnOp(*op);
    }
    case FrameType::kData: {
      const auto data = ParseData(frame.payload);
      return data.ok() ? conversation->OnData(*data) : data.status();
    }
    case FrameType::kPutEnd: {
      const auto end = ParsePutEnd(frame.payload);
      return end.ok() ? conversation->OnPutEnd() : end.status();
    }
    case FrameType::kPutAbort: {
      const auto abort = ParsePutAbort(frame.payload);
      return abort.ok() ? conversation->OnPutEnd() : abort;
    }
    case FrameType::kList: {
      const auto list = ParseList(frame.payload);
      if (!list.ok()) return list.status();
      ExpectStable(*list, AppendList, ParseList);
      return conversation->OnList();
    }
    case FrameType::kHashFile: {
      const auto hash_file = ParseHashFile(frame.payload);
      if (!hash_file.ok()) return hash_file.status();
      ExpectStable(*hash_file, AppendHashFile, ParseHashFile);
      return conversation->OnHashFile();
    }
    default: {
      const auto ping = ParsePing(frame.payload);
      return ping.ok() ? conversation->OnPing() : ping.status();
    }
  }
}

absl::Status AtSource(const Frame& frame, SourceConversation* conversation) {
  switch (frame.type) {
    case FrameType::kHelloReply: {
      const auto reply = ParseHelloReply(frame.payload);
      if (!reply.ok()) return reply.status();
      ExpectStable(*reply, AppendHelloReply, ParseHelloReply);
      return conversation->OnHelloReply();
    }
    case FrameType::kAck: {
      const auto ack = ParseAck(frame.payload);
      if (!ack.ok()) return ack.status();
      Expect(ack->failures.size() <= kMaxBatchOps);
      ExpectStable(*ack, AppendAck, ParseAck);
      return conversation->OnAck(*ack);
    }
    case FrameType::kListing: {
      const auto listing = ParseListing(frame.payload);
      if (!listing.ok()) return listing.status();
      for (const ListedEntry& entry : listing->entries) Expect(IsName(entry.name));
      ExpectStable(*listing, AppendListing, ParseListing);
      return conversation->OnListing(*listing);
    }
    case FrameType::kFileHash: {
      const auto file_hash = ParseFileHash(frame.payload);
      if (!file_hash.ok()) return file_hash.status();
      ExpectStable(*file_hash, AppendFileHash, ParseFileHash);
      return conversation->OnFileHash(*file_hash);
    }
    default:
      return ParsePing(frame.payload).status();  // legal at any time
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const bool at_source = (data[0] & 1) != 0;
  const std::size_t piece = 1 + std::size_t{data[1]} * data[1];
  std::string_view rest(reinterpret_cast<const char*>(data) + 2, size - 2);
  Decoder decoder(at_source ? Decoder::Start::kBeforeBanner : Decoder::Start::kAtFrame);
  ReceiverConversation receiver;
  SourceConversation source;
  source.SentBatchEnd(kBatchesSent);
  for (std::uint64_t id = 1; id <= kListsSent; ++id) source.SentList(id);
  for (std::uint64_t id = 1; id <= kListsSent; ++id) source.SentHashFile(id);
  while (!rest.empty()) {
    rest.remove_prefix(decoder.Feed(rest.substr(0, std::min(piece, rest.size()))));
    for (;;) {
      const auto frame = decoder.Next();
      if (!frame.ok()) return 0;
      if (!frame->has_value()) break;
      if (!(at_source ? AtSource(**frame, &source) : AtReceiver(**frame, &receiver)).ok()) return 0;
    }
  }
  return 0;
}
