#include "wire/frame.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "model/failure.h"
#include "wire/messages.h"

namespace fanmirror::wire {
namespace {

std::vector<std::pair<FrameType, std::string>> Drain(Decoder& decoder, absl::Status* failed) {
  std::vector<std::pair<FrameType, std::string>> frames;
  for (;;) {
    absl::StatusOr<std::optional<Frame>> frame = decoder.Next();
    if (!frame.ok()) *failed = frame.status();
    if (!frame.ok() || !frame->has_value()) return frames;
    frames.emplace_back((*frame)->type, std::string((*frame)->payload));
  }
}

// Feeds `stream` in pieces of at most `piece` bytes.
std::vector<std::pair<FrameType, std::string>> Decode(Decoder& decoder, std::string_view stream,
                                                      std::size_t piece, absl::Status* failed) {
  std::vector<std::pair<FrameType, std::string>> frames;
  while (!stream.empty() && failed->ok()) {
    const std::size_t taken = decoder.Feed(stream.substr(0, piece));
    EXPECT_GT(taken, 0u);
    stream.remove_prefix(taken);
    for (auto& frame : Drain(decoder, failed)) frames.push_back(std::move(frame));
  }
  return frames;
}

std::string SomeStream() {
  std::string stream;
  AppendPing({7}, &stream);
  AppendData(4096, absl::MakeConstSpan("content", 7), &stream);
  AppendPutEnd({{1, 2}, true}, &stream);
  AppendPutAbort(&stream);
  return stream;
}

TEST(Decoder, GivesTheSameFramesWhereverTheStreamIsCut) {
  const std::string stream = std::string("Welcome!\n") + std::string(kBanner) + SomeStream();
  for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
    Decoder decoder(Decoder::Start::kBeforeBanner);
    absl::Status failed;
    auto frames = Decode(decoder, std::string_view(stream).substr(0, cut), stream.size(), &failed);
    for (auto& frame : Decode(decoder, std::string_view(stream).substr(cut), stream.size(), &failed)) {
      frames.push_back(frame);
    }
    ASSERT_TRUE(failed.ok()) << failed;
    ASSERT_EQ(frames.size(), 4u) << "cut at " << cut;
    EXPECT_EQ(frames[1].first, FrameType::kData);
    const auto data = ParseData(frames[1].second);
    ASSERT_TRUE(data.ok());
    EXPECT_EQ(data->offset, 4096u);
    EXPECT_EQ(data->bytes, "content");
    const auto end = ParsePutEnd(frames[2].second);
    ASSERT_TRUE(end.ok());
    EXPECT_EQ(end->hash, (model::ContentHash{1, 2}));
    EXPECT_TRUE(end->raced);
    EXPECT_TRUE(ParsePutAbort(frames[3].second).ok());
    EXPECT_TRUE(decoder.at_boundary());
  }
}

TEST(Decoder, ByteByByteAndTruncated) {
  const std::string stream = SomeStream();
  Decoder decoder(Decoder::Start::kAtFrame);
  absl::Status failed;
  EXPECT_EQ(Decode(decoder, std::string_view(stream).substr(0, stream.size() - 1), 1, &failed).size(), 3u);
  EXPECT_TRUE(failed.ok());
  EXPECT_FALSE(decoder.at_boundary());
}

TEST(Decoder, LargestFramesPassInAnyPieces) {
  std::string stream;
  std::mt19937 random(1);
  std::vector<std::string> contents;
  for (int i = 0; i < 12; ++i) {
    std::string content(i % 3 == 2 ? 100 : kMaxDataBytes, static_cast<char>('a' + i));
    AppendData(static_cast<std::uint64_t>(i), content, &stream);
    contents.push_back(std::move(content));
  }
  for (const std::size_t piece :
       {std::size_t{4093}, std::size_t{70'000}, std::size_t{1} << 20, stream.size()}) {
    Decoder decoder(Decoder::Start::kAtFrame);
    absl::Status failed;
    const auto frames = Decode(decoder, stream, piece, &failed);
    ASSERT_TRUE(failed.ok()) << failed;
    ASSERT_EQ(frames.size(), contents.size());
    for (std::size_t i = 0; i < frames.size(); ++i)
      EXPECT_TRUE(ParseData(frames[i].second)->bytes == contents[i]);
  }
}

TEST(Decoder, SpaceIsNeverEmpty) {
  std::string stream;
  AppendFrame(FrameType::kOp, std::string(kMaxPayloadBytes, 'x'), &stream);
  AppendFrame(FrameType::kOp, std::string(kMaxPayloadBytes, 'y'), &stream);
  Decoder decoder(Decoder::Start::kAtFrame);
  absl::Status failed;
  EXPECT_EQ(Decode(decoder, stream, 1 << 16, &failed).size(), 2u);
  EXPECT_TRUE(failed.ok());
}

TEST(Decoder, RefusesWhatIsNoFrameAndStaysRefusing) {
  const std::string too_long("\xff\xff\xff\x7f\x05 and more", 14);
  const std::string unknown_type("\x01\x00\x00\x00\x63x", 6);
  for (const std::string& stream : {too_long, unknown_type}) {
    Decoder decoder(Decoder::Start::kAtFrame);
    absl::Status failed;
    EXPECT_TRUE(Decode(decoder, stream, 100, &failed).empty());
    EXPECT_EQ(model::ReactionOf(failed), model::Reaction::kReconnect);
    EXPECT_FALSE(decoder.Next().ok());
  }
}

TEST(Decoder, KeepsTheNoiseForTheMessage) {
  Decoder decoder(Decoder::Start::kBeforeBanner);
  absl::Status failed;
  EXPECT_TRUE(Decode(decoder, "bash: fanmirror: command not found\n", 3, &failed).empty());
  EXPECT_TRUE(failed.ok());
  EXPECT_FALSE(decoder.banner_seen());
  EXPECT_EQ(decoder.Noise(), "'bash: fanmirror: command not found'");
  EXPECT_TRUE(
      Decode(decoder, std::string(kMaxNoiseBytes + 100, '\n') + std::string(kBanner), 1000, &failed).empty());
  EXPECT_EQ(model::ReactionOf(failed), model::Reaction::kReconnect);
}

TEST(Decoder, FindsTheBannerAfterTheLongestNoise) {
  Decoder decoder(Decoder::Start::kBeforeBanner);
  absl::Status failed;
  std::string stream =
      std::string(kMaxNoiseBytes - 10, 'f') + "fanmirror-" + std::string(kBanner) + SomeStream();
  EXPECT_EQ(Decode(decoder, stream, 4096, &failed).size(), 4u);
  EXPECT_TRUE(failed.ok()) << failed;
}

TEST(Data, RefusesEmptyOversizedAndOverflowing) {
  std::string frame;
  AppendDataHeader(0, 0, &frame);
  EXPECT_FALSE(ParseData(std::string_view(frame).substr(kFrameHeaderBytes)).ok());
  EXPECT_FALSE(ParseData("short").ok());
  EXPECT_FALSE(ParseData(std::string(kDataHeaderBytes + kMaxDataBytes + 1, '\0')).ok());
  EXPECT_TRUE(ParseData(std::string(kDataHeaderBytes + kMaxDataBytes, '\0')).ok());
  EXPECT_FALSE(ParseData(std::string(8, '\xff') + "x").ok());
  EXPECT_FALSE(ParseData(std::string("\xff\xff\xff\xff\xff\xff\xff\x7fx", 9)).ok());
  EXPECT_FALSE(ParsePutEnd(std::string(16, '\0')).ok());
  EXPECT_FALSE(ParsePutEnd(std::string(16, '\0') + "\x02").ok());
  EXPECT_FALSE(ParsePutAbort("x").ok());
}

// Every parser takes any bytes and answers with a value or a refusal.
void ParseAll(FrameType type, std::string_view payload) {
  absl::Status status;
  switch (type) {
    case FrameType::kHello:
      status = ParseHello(payload).status();
      break;
    case FrameType::kHelloReply:
      status = ParseHelloReply(payload).status();
      break;
    case FrameType::kBatchBegin:
      status = ParseBatchBegin(payload).status();
      break;
    case FrameType::kBatchEnd:
      status = ParseBatchEnd(payload).status();
      break;
    case FrameType::kOp:
      status = ParseOp(payload).status();
      break;
    case FrameType::kData:
      status = ParseData(payload).status();
      break;
    case FrameType::kPutEnd:
      status = ParsePutEnd(payload).status();
      break;
    case FrameType::kPutAbort:
      status = ParsePutAbort(payload);
      break;
    case FrameType::kAck:
      status = ParseAck(payload).status();
      break;
    case FrameType::kList:
      status = ParseList(payload).status();
      break;
    case FrameType::kListing:
      status = ParseListing(payload).status();
      break;
    case FrameType::kPing:
      status = ParsePing(payload).status();
      break;
    case FrameType::kHashFile:
      status = ParseHashFile(payload).status();
      break;
    case FrameType::kFileHash:
      status = ParseFileHash(payload).status();
      break;
  }
  if (!status.ok()) {
    ASSERT_EQ(model::ReactionOf(status), model::Reaction::kReconnect) << status;
    ASSERT_EQ(std::string(status.message()).find('\n'), std::string::npos) << status;
  }
}

void FeedAll(Decoder& decoder, std::string_view stream) {
  while (!stream.empty()) {
    const std::size_t taken = decoder.Feed(stream);
    stream.remove_prefix(taken);
    for (;;) {
      const auto frame = decoder.Next();
      if (!frame.ok()) {
        EXPECT_EQ(model::ReactionOf(frame.status()), model::Reaction::kReconnect);
        return;
      }
      if (!frame->has_value()) break;
      ParseAll((*frame)->type, (*frame)->payload);
    }
  }
}

std::string MessageStream() {
  std::string stream = SomeStream();
  AppendHello({1, "0.1", "job", "id", "host:/src", "/dst", true}, &stream);
  AppendHelloReply({1, "0.1", "no", model::Reaction::kHaltJob, 3, 2, true, "ext4", "/dst"}, &stream);
  AppendBatchBegin({4, 3}, &stream);
  AppendBatchEnd(4, &stream);
  AppendList({1, "a/b", true}, &stream);
  AppendAck({4, {{0, model::Reaction::kRetry, "full"}, {9, model::Reaction::kLookAgain, "gone"}}}, &stream);
  model::Op op;
  op.path = "a/b";
  const std::vector<model::Xattr> xattrs = {{"user.x", "1"}, {"trusted.y", ""}};
  EXPECT_TRUE(AppendOp(op, {}, xattrs, {}, &stream).ok());
  Listing listing{1, true, true, {}, {}, "", model::Reaction::kRetry};
  listing.entries.push_back({"name", {}, 12});
  AppendListing(listing, &stream);
  AppendHashFile({2, "a/b"}, &stream);
  AppendFileHash({2, true, {1, 2}, ""}, &stream);
  return stream;
}

TEST(Garbage, RandomFramesNeverHarm) {
  std::mt19937_64 random(20'261'123);
  for (int round = 0; round < 5'000; ++round) {
    Decoder decoder(round % 2 == 0 ? Decoder::Start::kAtFrame : Decoder::Start::kBeforeBanner);
    std::string stream = round % 4 == 1 ? std::string(kBanner) : std::string();
    for (int frame = 0; frame < 3; ++frame) {
      std::string payload(random() % 64, '\0');
      for (char& c : payload) c = static_cast<char>(random() % (round % 3 == 0 ? 256 : 24));
      AppendFrame(static_cast<FrameType>(1 + random() % 13), payload, &stream);
    }
    FeedAll(decoder, stream);
  }
}

TEST(Garbage, MutatedAndTruncatedMessagesNeverHarm) {
  const std::string good = MessageStream();
  std::mt19937_64 random(7);
  for (std::size_t cut = 0; cut < good.size(); ++cut) {
    Decoder decoder(Decoder::Start::kAtFrame);
    FeedAll(decoder, std::string_view(good).substr(0, cut));
  }
  for (int round = 0; round < 8'000; ++round) {
    std::string bad = good;
    for (std::uint64_t i = 0; i <= random() % 6; ++i)
      bad[random() % bad.size()] = static_cast<char>(random());
    Decoder decoder(Decoder::Start::kAtFrame);
    FeedAll(decoder, bad);
  }
}

}  // namespace
}  // namespace fanmirror::wire
