#include "wire/conversation.h"

#include <gtest/gtest.h>

namespace fanmirror::wire {
namespace {

ReceivedOp Put() { return {}; }
ReceivedOp Remove() {
  ReceivedOp op;
  op.op.kind = model::Op::Kind::kRemove;
  return op;
}

TEST(ReceiverConversation, TheLegalCourse) {
  ReceiverConversation talk;
  EXPECT_TRUE(talk.AtRest());
  EXPECT_TRUE(talk.OnHello().ok());
  EXPECT_TRUE(talk.OnList().ok());
  EXPECT_TRUE(talk.OnHashFile().ok());
  EXPECT_TRUE(talk.OnBatchBegin({3, 0}).ok());
  EXPECT_TRUE(talk.OnOp(Remove()).ok());
  EXPECT_TRUE(talk.OnOp(Put()).ok());
  EXPECT_EQ(talk.ops(), 2u);
  EXPECT_TRUE(talk.OnPing().ok());
  EXPECT_TRUE(talk.OnData({0, "abc"}).ok());
  EXPECT_TRUE(talk.OnData({3, "d"}).ok());
  EXPECT_TRUE(talk.OnData({100, "d"}).ok());
  EXPECT_TRUE(talk.OnPutEnd().ok());
  EXPECT_FALSE(talk.AtRest());
  EXPECT_TRUE(talk.OnBatchEnd(3).ok());
  EXPECT_TRUE(talk.AtRest());
  EXPECT_TRUE(talk.OnBatchBegin({4, 3}).ok());
  EXPECT_EQ(talk.ops(), 0u);
}

TEST(ReceiverConversation, NothingBeforeHello) {
  ReceiverConversation talk;
  EXPECT_FALSE(talk.OnBatchBegin({1, 0}).ok());
  EXPECT_FALSE(talk.OnOp(Put()).ok());
  EXPECT_FALSE(talk.OnList().ok());
  EXPECT_FALSE(talk.OnHashFile().ok());
  EXPECT_FALSE(talk.OnPing().ok());
  EXPECT_TRUE(talk.OnHello().ok());
  EXPECT_FALSE(talk.OnHello().ok());
}

TEST(ReceiverConversation, OpsOnlyWithinABatch) {
  ReceiverConversation talk;
  ASSERT_TRUE(talk.OnHello().ok());
  EXPECT_FALSE(talk.OnOp(Remove()).ok());
  EXPECT_FALSE(talk.OnBatchEnd(1).ok());
  EXPECT_FALSE(talk.OnData({0, "x"}).ok());
  EXPECT_FALSE(talk.OnPutEnd().ok());
  ASSERT_TRUE(talk.OnBatchBegin({2, 0}).ok());
  EXPECT_FALSE(talk.OnList().ok());
  EXPECT_FALSE(talk.OnHashFile().ok());
  EXPECT_FALSE(talk.OnBatchBegin({3, 0}).ok());
  EXPECT_FALSE(talk.OnBatchEnd(1).ok());
  EXPECT_FALSE(talk.OnData({0, "x"}).ok());
  ASSERT_TRUE(talk.OnBatchEnd(2).ok());
  EXPECT_FALSE(talk.OnBatchBegin({2, 0}).ok());
}

TEST(ReceiverConversation, DataAscendsWithinAPut) {
  ReceiverConversation talk;
  ASSERT_TRUE(talk.OnHello().ok());
  ASSERT_TRUE(talk.OnBatchBegin({1, 0}).ok());
  ASSERT_TRUE(talk.OnOp(Put()).ok());
  ASSERT_TRUE(talk.OnData({10, "0123456789"}).ok());
  EXPECT_FALSE(talk.OnData({19, "x"}).ok());
  EXPECT_FALSE(talk.OnOp(Remove()).ok());
  EXPECT_FALSE(talk.OnBatchEnd(1).ok());
  ASSERT_TRUE(talk.OnPutEnd().ok());
  ASSERT_TRUE(talk.OnOp(Put()).ok());
  EXPECT_TRUE(talk.OnData({0, "x"}).ok());
}

TEST(ReceiverConversation, OpsOfABatchAreBounded) {
  ReceiverConversation talk;
  ASSERT_TRUE(talk.OnHello().ok());
  ASSERT_TRUE(talk.OnBatchBegin({1, 0}).ok());
  for (std::uint32_t i = 0; i < kMaxBatchOps; ++i) ASSERT_TRUE(talk.OnOp(Remove()).ok());
  EXPECT_FALSE(talk.OnOp(Remove()).ok());
}

TEST(SourceConversation, AcksAscendAndOnlyForWhatWasSent) {
  SourceConversation talk;
  EXPECT_FALSE(talk.OnAck({1, {}}).ok());
  ASSERT_TRUE(talk.OnHelloReply().ok());
  EXPECT_FALSE(talk.OnHelloReply().ok());
  EXPECT_FALSE(talk.OnAck({1, {}}).ok());
  talk.SentBatchEnd(7);
  talk.SentBatchEnd(8);
  EXPECT_TRUE(talk.OnAck({7, {}}).ok());
  EXPECT_FALSE(talk.OnAck({7, {}}).ok());
  EXPECT_TRUE(talk.OnAck({8, {}}).ok());
  EXPECT_FALSE(talk.OnAck({9, {}}).ok());
}

TEST(SourceConversation, ListingsOnlyWhenAsked) {
  SourceConversation talk;
  Listing listing;
  listing.entries.resize(1);
  listing.id = 4;
  talk.SentList(4);
  EXPECT_FALSE(talk.OnListing(listing).ok());
  ASSERT_TRUE(talk.OnHelloReply().ok());
  EXPECT_TRUE(talk.OnListing(listing).ok());
  listing.last = true;
  EXPECT_TRUE(talk.OnListing(listing).ok());
  EXPECT_FALSE(talk.OnListing(listing).ok());
}

TEST(SourceConversation, OnePageIsOneListing) {
  SourceConversation talk;
  ASSERT_TRUE(talk.OnHelloReply().ok());
  talk.SentList(4, /*one_page=*/true);
  Listing listing;
  listing.entries.resize(1);
  listing.id = 4;
  EXPECT_TRUE(talk.OnListing(listing).ok());
  EXPECT_FALSE(talk.OnListing(listing).ok());
}

TEST(SourceConversation, FileHashesComeInTheirOrder) {
  SourceConversation talk;
  talk.SentHashFile(4);
  talk.SentHashFile(5);
  EXPECT_FALSE(talk.OnFileHash({.id = 4}).ok());
  ASSERT_TRUE(talk.OnHelloReply().ok());
  EXPECT_FALSE(talk.OnFileHash({.id = 5}).ok());
  EXPECT_TRUE(talk.OnFileHash({.id = 4}).ok());
  EXPECT_TRUE(talk.OnFileHash({.id = 5}).ok());
  EXPECT_FALSE(talk.OnFileHash({.id = 5}).ok());
}

}  // namespace
}  // namespace fanmirror::wire
