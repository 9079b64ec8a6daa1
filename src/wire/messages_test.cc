#include "wire/messages.h"

#include <gtest/gtest.h>

#include "messages.pb.h"
#include "wire/frame.h"

namespace fanmirror::wire {
namespace {

std::string_view Payload(const std::string& frame) {
  return std::string_view(frame).substr(kFrameHeaderBytes);
}

model::Op MakeOp(model::Op::Kind kind, std::string path, std::string from = "") {
  model::Op op;
  op.kind = kind;
  op.path = std::move(path);
  op.from = std::move(from);
  return op;
}

// A well-formed put, for tests that spoil one thing.
pb::Op GoodPut() {
  pb::Op op;
  op.set_kind(static_cast<std::uint32_t>(model::Op::Kind::kPut));
  op.set_path("dir/file");
  op.mutable_metadata()->set_type(static_cast<std::uint32_t>(model::NodeType::kRegular));
  op.mutable_metadata()->set_mode(0644);
  return op;
}

TEST(Op, ComesBackAsItWasSent) {
  model::Metadata metadata;
  metadata.type = model::NodeType::kBlockDevice;
  metadata.mode = 07751;
  metadata.uid = 4'000'000'000;
  metadata.gid = 65'534;
  metadata.size = 0;
  metadata.mtime = {-12'345'678'901, 999'999'999};
  metadata.device_major = 4095;
  metadata.device_minor = 1'048'575;
  const std::vector<model::Xattr> xattrs = {{"security.capability", std::string("\0\1\2", 3)},
                                            {"system.posix_acl_access", "acl"},
                                            {"user.\xff\n", ""}};
  model::Op op = MakeOp(model::Op::Kind::kMake, "d\xff/new\nline");
  std::string frame;
  ASSERT_TRUE(AppendOp(op, metadata, xattrs, {}, &frame).ok());
  const auto received = ParseOp(Payload(frame));
  ASSERT_TRUE(received.ok()) << received.status();
  EXPECT_EQ(received->op.kind, op.kind);
  EXPECT_EQ(received->op.path, op.path);
  EXPECT_EQ(received->op.type, metadata.type);
  EXPECT_EQ(received->metadata, metadata);
  EXPECT_EQ(received->xattrs, xattrs);
}

TEST(Op, SymlinkAndTwoPaths) {
  model::Metadata metadata;
  metadata.type = model::NodeType::kSymlink;
  std::string frame;
  const std::string target(4095, 't');
  ASSERT_TRUE(AppendOp(MakeOp(model::Op::Kind::kMake, "l"), metadata, {}, target, &frame).ok());
  EXPECT_EQ(ParseOp(Payload(frame))->symlink_target, target);
  frame.clear();
  ASSERT_TRUE(AppendOp(MakeOp(model::Op::Kind::kRename, "to", ".fanmirror/limbo/1"), &frame).ok());
  EXPECT_EQ(ParseOp(Payload(frame))->op.from, ".fanmirror/limbo/1");
}

TEST(Op, WhatCannotBeToldIsSkippedAndLeavesNothing) {
  std::string frame = "before";
  for (const std::string& path :
       {std::string("a//b"), std::string("../x"), std::string(256, 'n'), std::string()}) {
    const absl::Status status = AppendOp(MakeOp(model::Op::Kind::kRemove, path), &frame);
    EXPECT_EQ(model::ReactionOf(status), model::Reaction::kSkipAndReport) << path;
  }
  const std::vector<model::Xattr> huge(20, model::Xattr{"user.x", std::string(65'536, 'v')});
  EXPECT_EQ(model::ReactionOf(AppendOp(MakeOp(model::Op::Kind::kPut, "f"), {}, huge, {}, &frame)),
            model::Reaction::kSkipAndReport);
  EXPECT_EQ(frame, "before");
}

TEST(Op, PathsThatLeaveTheRootAreRefused) {
  for (const std::string& path :
       {std::string("/abs"), std::string("a/../b"), std::string(".."), std::string("."), std::string("a/./b"),
        std::string("a//b"), std::string("a/"), std::string("a\0b", 3), std::string(256, 'n'),
        std::string("")}) {
    pb::Op op = GoodPut();
    op.set_path(path);
    EXPECT_FALSE(ParseOp(op.SerializeAsString()).ok()) << path;
    op = GoodPut();
    op.clear_metadata();
    op.set_kind(static_cast<std::uint32_t>(model::Op::Kind::kRename));
    op.set_from(path);
    EXPECT_FALSE(ParseOp(op.SerializeAsString()).ok()) << "from " << path;
  }
  EXPECT_TRUE(ParseOp(GoodPut().SerializeAsString()).ok());
  EXPECT_TRUE(IsRelativePath(std::string(255, 'n') + "/..."));
}

TEST(Op, EverySpoiledFieldIsRefused) {
  const auto refused = [](auto spoil) {
    pb::Op op = GoodPut();
    spoil(op);
    const auto parsed = ParseOp(op.SerializeAsString());
    return !parsed.ok() && model::ReactionOf(parsed.status()) == model::Reaction::kReconnect;
  };
  EXPECT_FALSE(refused([](pb::Op&) {}));
  EXPECT_TRUE(refused([](pb::Op& op) { op.set_kind(0); }));
  EXPECT_TRUE(refused([](pb::Op& op) { op.set_kind(8); }));
  EXPECT_TRUE(refused([](pb::Op& op) { op.set_from("x"); }));
  EXPECT_TRUE(refused([](pb::Op& op) { op.mutable_metadata()->set_type(0); }));
  EXPECT_TRUE(refused([](pb::Op& op) { op.mutable_metadata()->set_type(8); }));
  EXPECT_TRUE(refused([](pb::Op& op) { op.mutable_metadata()->set_type(2); }));
  EXPECT_TRUE(refused([](pb::Op& op) { op.mutable_metadata()->set_mode(010000); }));
  EXPECT_TRUE(
      refused([](pb::Op& op) { op.mutable_metadata()->mutable_mtime()->set_nanoseconds(1'000'000'000); }));
  EXPECT_TRUE(refused([](pb::Op& op) { op.mutable_metadata()->set_size(UINT64_MAX); }));
  EXPECT_TRUE(refused([](pb::Op& op) { op.mutable_metadata()->set_symlink_target("x"); }));
  EXPECT_TRUE(refused([](pb::Op& op) { op.mutable_metadata()->set_device_major(4096); }));
  EXPECT_TRUE(refused([](pb::Op& op) { op.mutable_metadata()->add_xattrs()->set_name("system.other"); }));
  EXPECT_TRUE(refused([](pb::Op& op) { op.mutable_metadata()->add_xattrs()->set_name("user."); }));
  EXPECT_TRUE(
      refused([](pb::Op& op) { op.mutable_metadata()->add_xattrs()->set_name(std::string("user.\0x", 7)); }));
  EXPECT_TRUE(refused([](pb::Op& op) { op.set_kind(6); }));  // a remove has no metadata
  EXPECT_TRUE(refused([](pb::Op& op) { op.set_kind(1); }));  // a make of a regular file
}

TEST(Hello, ComesBackAsItWasSent) {
  std::string frame;
  AppendHello({kProtocol, "0.1.0", "up\xffloads", "0123", "host:/srv", "/t", true, false, absl::Milliseconds(1500)}, &frame);
  const auto hello = ParseHello(Payload(frame));
  ASSERT_TRUE(hello.ok());
  EXPECT_EQ(hello->job, "up\xffloads");
  EXPECT_EQ(hello->path, "/t");
  EXPECT_TRUE(hello->adopt);
  EXPECT_EQ(hello->silence, absl::Milliseconds(1500));
  frame.clear();
  AppendHelloReply({kProtocol, "0.1.0", "two\nlines", model::Reaction::kHaltJob, 9, 8, true, "xfs", "/t"},
                   &frame);
  const auto reply = ParseHelloReply(Payload(frame));
  ASSERT_TRUE(reply.ok());
  EXPECT_EQ(reply->refusal, "two lines");
  EXPECT_EQ(reply->reaction, model::Reaction::kHaltJob);
  EXPECT_EQ(reply->begun, 9u);
  EXPECT_EQ(reply->durable, 8u);
}

TEST(Hello, AnEndlessSilenceIsRefused) {
  std::string frame;
  fanmirror::wire::Hello hello;
  hello.silence = kMaxSilence + absl::Milliseconds(1);
  AppendHello(hello, &frame);
  EXPECT_FALSE(ParseHello(Payload(frame)).ok());
}

TEST(HelloReply, NumbersThatMakeNoSenseAreRefused) {
  pb::HelloReply reply;
  reply.set_begun(4);
  reply.set_durable(5);
  EXPECT_FALSE(ParseHelloReply(reply.SerializeAsString()).ok());
}

TEST(BatchBegin, NumbersThatMakeNoSenseAreRefused) {
  std::string frame;
  AppendBatchBegin({5, 5}, &frame);
  EXPECT_FALSE(ParseBatchBegin(Payload(frame)).ok());
  EXPECT_FALSE(ParseBatchBegin("").ok());
}

TEST(Ack, ABatchThatFailedWholeFitsAFrame) {
  Ack ack{3, {}};
  for (std::uint32_t i = 0; i < kMaxBatchOps; ++i) {
    ack.failures.push_back({i, model::Reaction::kRetry, "write 'some/file': No space left on device"});
  }
  std::string frame;
  AppendAck(ack, &frame);
  EXPECT_LE(frame.size(), kMaxPayloadBytes);
  const auto parsed = ParseAck(Payload(frame));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  ASSERT_EQ(parsed->failures.size(), kMaxBatchOps);
  EXPECT_EQ(parsed->failures[0].message, ack.failures[0].message);
  EXPECT_TRUE(parsed->failures.back().message.empty());
}

TEST(Ack, DisorderAndUnknownReactionsAreRefused) {
  pb::Ack ack;
  ack.set_number(1);
  ack.add_failures()->set_reaction(1);
  EXPECT_TRUE(ParseAck(ack.SerializeAsString()).ok());
  ack.add_failures()->set_reaction(1);
  EXPECT_FALSE(ParseAck(ack.SerializeAsString()).ok());
  ack.mutable_failures(1)->set_index(1);
  EXPECT_TRUE(ParseAck(ack.SerializeAsString()).ok());
  ack.mutable_failures(1)->set_reaction(6);
  EXPECT_FALSE(ParseAck(ack.SerializeAsString()).ok());
}

TEST(Listing, ComesBackAndRefusesNamesThatAreNone) {
  Listing listing;
  listing.id = 5;
  listing.exists = true;
  listing.self.metadata.type = model::NodeType::kDirectory;
  listing.entries.push_back({"\xfe\n", {}, 77});
  listing.entries.back().metadata.links = 3;
  listing.entries.back().xattrs = {1, 2};
  listing.entries.back().symlink_target = {3, 4};
  listing.next = 0xfedcba9876543210;
  std::string frame;
  AppendListing(listing, &frame);
  const auto parsed = ParseListing(Payload(frame));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->entries.at(0).name, "\xfe\n");
  EXPECT_EQ(parsed->entries.at(0).inode, 77u);
  EXPECT_EQ(parsed->entries.at(0).metadata.links, 3u);
  EXPECT_EQ(parsed->entries.at(0).xattrs, (model::ContentHash{1, 2}));
  EXPECT_EQ(parsed->entries.at(0).symlink_target, (model::ContentHash{3, 4}));
  EXPECT_EQ(parsed->next, 0xfedcba9876543210);
  for (const char* name : {"", ".", "..", "a/b"}) {
    listing.entries[0].name = name;
    frame.clear();
    AppendListing(listing, &frame);
    EXPECT_FALSE(ParseListing(Payload(frame)).ok()) << name;
  }
}

TEST(HashFile, ComesBackAndStaysBelowTheRoot) {
  std::string frame;
  AppendHashFile({7, "a/\xff", 1'000}, &frame);
  const auto parsed = ParseHashFile(Payload(frame));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->id, 7u);
  EXPECT_EQ(parsed->path, "a/\xff");
  EXPECT_EQ(parsed->bytes_per_second, 1'000u);
  for (const char* path : {"/a", "..", "a//b", "a/../b"}) {
    frame.clear();
    AppendHashFile({7, path}, &frame);
    EXPECT_FALSE(ParseHashFile(Payload(frame)).ok()) << path;
  }
}

TEST(FileHash, ComesBack) {
  std::string frame;
  AppendFileHash({7, true, {1, 2}, "two\nlines", model::Reaction::kSkipAndReport}, &frame);
  const auto parsed = ParseFileHash(Payload(frame));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->id, 7u);
  EXPECT_TRUE(parsed->exists);
  EXPECT_EQ(parsed->hash, (model::ContentHash{1, 2}));
  EXPECT_EQ(parsed->error, "two lines");
  EXPECT_EQ(parsed->reaction, model::Reaction::kSkipAndReport);
}

}  // namespace
}  // namespace fanmirror::wire
