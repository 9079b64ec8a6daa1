// A receiver that says what no receiver says: the connection ends with a reason, and what the source holds stays bounded.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "catalogue/catalogue.h"
#include "messages.pb.h"
#include "model/failure.h"
#include "os/testing/tree_fixture.h"
#include "replicate/dialogue.h"
#include "replicate/learner.h"
#include "wire/messages.h"

namespace fanmirror::replicate {
namespace {

using model::Reaction;
using ::testing::HasSubstr;

// The far side of a dialogue: takes everything, and says what it is given.
class Says : public link::Link {
 public:
  // `more`: what comes next; empty when there is nothing more.
  explicit Says(std::function<std::string()> more) : more_(std::move(more)) {}
  explicit Says(std::string all) : Says([all = std::move(all)]() mutable { return std::exchange(all, ""); }) {}

  absl::StatusOr<std::size_t> Write(absl::Span<const char> data) override { return data.size(); }
  absl::StatusOr<std::size_t> Read(absl::Span<char> buffer) override {
    if (rest_.empty()) rest_ = more_();
    const std::size_t count = std::min(rest_.size(), buffer.size());
    std::copy_n(rest_.begin(), count, buffer.begin());
    rest_.erase(0, count);
    said_ += count;
    return count;
  }
  bool WritePending() const override { return false; }
  absl::StatusOr<Ready> Wait(bool, int, absl::Duration) override { return Ready{}; }
  std::size_t said() const { return said_; }

 private:
  std::function<std::string()> more_;
  std::string rest_;
  std::size_t said_ = 0;
};

template <typename Message>
std::string Frame(wire::FrameType type, const Message& message) {
  std::string out;
  wire::AppendFrame(type, message.SerializeAsString(), &out);
  return out;
}

std::string Greeting(std::uint64_t begun = 0) {
  wire::pb::HelloReply reply;
  reply.set_protocol(wire::kProtocol);
  reply.set_begun(begun);
  return std::string(wire::kBanner) + Frame(wire::FrameType::kHelloReply, reply);
}

wire::pb::Listing ListingOf(std::uint64_t id, const std::string& name, bool last = true) {
  wire::pb::Listing listing;
  listing.set_id(id);
  listing.set_last(last);
  wire::pb::Entry* entry = listing.add_entries();
  entry->set_name(name);
  entry->mutable_metadata()->set_type(static_cast<std::uint32_t>(model::NodeType::kDirectory));
  return listing;
}

class HostileReceiver : public os::testing::TreeTest {
 protected:
  void SetUp() override {
    TreeTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    options_.tree = tree_.get();
    options_.traffic = &traffic_;
    options_.hello.protocol = wire::kProtocol;
    options_.on_event = [this](SessionEvent event) { events_.push_back(std::move(event)); };
  }

  // A batch of one remove, for which nothing is read.
  static std::unique_ptr<Batch> OneRemove(std::uint64_t number) {
    auto batch = std::make_unique<Batch>();
    batch->number = number;
    batch->steps.emplace_back();
    batch->steps.back().op.kind = model::Op::Kind::kRemove;
    batch->steps.back().op.path = "x";
    return batch;
  }

  // What ends a dialogue in which we sent batch 1 and asked for list 1 and the hashes 2 and 3.
  std::string Ends(std::string said) {
    auto dialogue = Dialogue::Begin(options_);
    EXPECT_TRUE(dialogue.ok()) << dialogue.status();
    (*dialogue)->Ask(wire::List{.id = 1, .path = "", .children = true});
    for (const std::uint64_t id : {2, 3}) (*dialogue)->Ask(wire::HashFile{.id = id, .path = "file"});
    (*dialogue)->Send(OneRemove(1));
    Says greeting(Greeting());
    for (int turns = 0; turns < 3; ++turns) EXPECT_TRUE((*dialogue)->Turn(&greeting).ok());
    Says link(std::move(said));
    for (int turns = 0; turns < 1000; ++turns) {
      const auto moved = (*dialogue)->Turn(&link);
      if (!moved.ok()) {
        EXPECT_EQ(model::ReactionOf(moved.status()), Reaction::kReconnect) << moved.status();
        EXPECT_EQ(std::string(moved.status().message()).find('\n'), std::string::npos);
        return std::string(moved.status().message());
      }
      if (!*moved) break;
    }
    return "";
  }

  SessionOptions options_;
  Traffic traffic_;
  std::vector<SessionEvent> events_;
};

INSTANTIATE_TEST_SUITE_P(On, HostileReceiver, ::testing::Values("tmpfs"), [](const auto& instance) { return instance.param; });

TEST_P(HostileReceiver, SpeaksOutOfTurn) {
  wire::pb::Ack ack;
  ack.set_number(2);
  EXPECT_THAT(Ends(Frame(wire::FrameType::kAck, ack)), HasSubstr("not sent"));
  ack.set_number(0);
  EXPECT_THAT(Ends(Frame(wire::FrameType::kAck, ack)), HasSubstr("Ack 0"));
  ack.set_number(1);
  EXPECT_THAT(Ends(Frame(wire::FrameType::kAck, ack) + Frame(wire::FrameType::kAck, ack)), HasSubstr("Ack 1 after"));
  EXPECT_THAT(Ends(Greeting().substr(wire::kBanner.size())), HasSubstr("a second HelloReply"));
  for (const wire::FrameType type : {wire::FrameType::kHello, wire::FrameType::kOp, wire::FrameType::kData,
                                     wire::FrameType::kPutEnd, wire::FrameType::kList, wire::FrameType::kBatchBegin}) {
    std::string frame;
    wire::AppendFrame(type, "", &frame);
    EXPECT_THAT(Ends(frame), HasSubstr("only a source sends"));
  }
  EXPECT_THAT(Ends(std::string("\xff\xff\xff\xff\x09", 5)), HasSubstr("no frame"));
}

TEST_P(HostileReceiver, ReportsFailuresThatCannotBe) {
  wire::pb::Ack ack;
  ack.set_number(1);
  wire::pb::OpFailure* failure = ack.add_failures();
  failure->set_reaction(static_cast<std::uint32_t>(Reaction::kRetry));
  failure->set_index(1);
  EXPECT_THAT(Ends(Frame(wire::FrameType::kAck, ack)), HasSubstr("an op that was not sent"));
  failure->set_index(wire::kMaxBatchOps);
  EXPECT_THAT(Ends(Frame(wire::FrameType::kAck, ack)), HasSubstr("a failure of no op"));
  // As many as fit a frame.
  failure->Clear();
  for (std::size_t i = 0; i < wire::kMaxPayloadBytes / 3; ++i) ack.add_failures();
  EXPECT_THAT(Ends(Frame(wire::FrameType::kAck, ack)), HasSubstr("malformed Ack"));
}

TEST_P(HostileReceiver, ListsWhatIsNone) {
  for (const std::string& name : {std::string(), std::string("."), std::string(".."), std::string("a/b"), std::string("a\0b", 3),
                                  std::string(256, 'n')}) {
    EXPECT_THAT(Ends(Frame(wire::FrameType::kListing, ListingOf(1, name))), HasSubstr("name is no name"));
  }
  EXPECT_THAT(Ends(Frame(wire::FrameType::kListing, ListingOf(2, "a"))), HasSubstr("not asked for"));
  auto listing = ListingOf(1, "a");
  EXPECT_THAT(Ends(Frame(wire::FrameType::kListing, listing) + Frame(wire::FrameType::kListing, listing)),
              HasSubstr("not asked for"));
  listing.mutable_entries(0)->mutable_metadata()->set_size(std::uint64_t{1} << 63);
  EXPECT_THAT(Ends(Frame(wire::FrameType::kListing, listing)), HasSubstr("size beyond 2^63"));
  listing.mutable_entries(0)->mutable_metadata()->Clear();
  EXPECT_THAT(Ends(Frame(wire::FrameType::kListing, listing)), HasSubstr("unknown node type 0"));
  listing.clear_entries();
  listing.set_last(false);
  EXPECT_THAT(Ends(Frame(wire::FrameType::kListing, listing)), HasSubstr("without an entry or an end"));
  for (std::size_t i = 0; i < wire::kMaxPayloadBytes / 3; ++i) listing.add_entries();
  EXPECT_THAT(Ends(Frame(wire::FrameType::kListing, listing)), HasSubstr("too many entries"));
}

TEST_P(HostileReceiver, TellsHashesOutOfTurn) {
  const auto hash_of = [](std::uint64_t id) {
    std::string frame;
    wire::AppendFileHash({.id = id, .exists = true, .hash = {1, 2}}, &frame);
    return frame;
  };
  EXPECT_EQ(Ends(hash_of(2) + hash_of(3)), "");
  EXPECT_EQ(events_.size(), 3U);  // with the greeting
  for (const std::uint64_t other : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{3}, std::uint64_t{4}, UINT64_MAX}) {
    EXPECT_THAT(Ends(hash_of(other)), HasSubstr("not asked for, or not next")) << other;
  }
  EXPECT_THAT(Ends(hash_of(2) + hash_of(2)), HasSubstr("not asked for, or not next"));
  EXPECT_THAT(Ends(hash_of(2) + hash_of(3) + hash_of(3)), HasSubstr("not asked for, or not next"));
  EXPECT_THAT(Ends(Frame(wire::FrameType::kListing, ListingOf(2, "a"))), HasSubstr("Listing 2 that was not asked for"));
  std::string garbage;
  wire::AppendFrame(wire::FrameType::kFileHash, "\xff\xff\xff", &garbage);
  EXPECT_THAT(Ends(garbage), HasSubstr("malformed FileHash"));
  wire::pb::FileHash unheard_of;
  unheard_of.set_id(2);
  unheard_of.set_error("why");
  unheard_of.set_reaction(99);
  EXPECT_THAT(Ends(Frame(wire::FrameType::kFileHash, unheard_of)), HasSubstr("an unknown reaction"));
}

TEST_P(HostileReceiver, GreetsWithNumbersBeyondCounting) {
  auto dialogue = Dialogue::Begin(options_);
  ASSERT_TRUE(dialogue.ok());
  Says link(Greeting(std::uint64_t{1} << 63));
  const auto moved = (*dialogue)->Turn(&link);
  ASSERT_FALSE(moved.ok());
  EXPECT_THAT(std::string(moved.status().message()), HasSubstr("batch number beyond 2^63"));
}

TEST_P(HostileReceiver, NeverSaysTheBanner) {
  auto dialogue = Dialogue::Begin(options_);
  ASSERT_TRUE(dialogue.ok());
  Says link([] { return std::string(1000, '#'); });
  absl::StatusOr<bool> moved = true;
  while (moved.ok() && link.said() < 4 * wire::kMaxNoiseBytes) moved = (*dialogue)->Turn(&link);
  ASSERT_FALSE(moved.ok());
  EXPECT_THAT(std::string(moved.status().message()), HasSubstr("never said 'fanmirror-receiver 1'"));
}

// Nothing more is read than there is room for, and reading goes on when there is room again.
TEST_P(HostileReceiver, ListsForEver) {
  constexpr std::size_t kRoom = 4;
  options_.has_room = [this] { return events_.size() < kRoom; };
  auto dialogue = Dialogue::Begin(options_);
  ASSERT_TRUE(dialogue.ok());
  (*dialogue)->Ask(wire::List{.id = 1, .path = "", .children = true});
  std::uint64_t next = 0;
  bool greeted = false;
  Says link([&] {
    if (!std::exchange(greeted, true)) return Greeting();
    return Frame(wire::FrameType::kListing, ListingOf(1, std::to_string(++next), /*last=*/false));
  });
  for (int rounds = 1; rounds < 100; ++rounds) {
    absl::StatusOr<bool> moved = true;
    while (moved.ok() && *moved) moved = (*dialogue)->Turn(&link);
    ASSERT_TRUE(moved.ok()) << moved.status();
    EXPECT_TRUE((*dialogue)->NextRest(link).full);
    ASSERT_EQ(events_.size(), kRoom);
    events_.clear();
  }
  EXPECT_LE(next, 100 * (kRoom + 1));
}

class HostileListing : public HostileReceiver {
 protected:
  void SetUp() override {
    HostileReceiver::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    auto catalogue = catalogue::Catalogue::Open(At("state"));
    ASSERT_TRUE(catalogue.ok()) << catalogue.status();
    catalogue_ = *std::move(catalogue);
  }
  static wire::ListedEntry Directory(std::string name) {
    wire::ListedEntry entry;
    entry.name = std::move(name);
    entry.metadata.type = model::NodeType::kDirectory;
    return entry;
  }

  // Learns the target of which `fill` tells what is in each directory.
  absl::Status LearnAll(const std::function<void(const std::string& path, wire::Listing*)>& fill) {
    std::deque<std::string> asked;
    Learner learner(
        tree_.get(), &selection_, catalogue_.get(), [&](const std::string& path, bool) { asked.push_back(path); },
        [&](const std::function<absl::Status(const wire::Listing&)>& frame) {
          wire::Listing listing;
          listing.last = true;
          fill(asked.front(), &listing);
          asked.pop_front();
          return frame(listing);
        },
        [&](absl::Span<const model::Change> changes) {
          changes_ += changes.size();
          return absl::OkStatus();
        });
    return learner.LearnAll();
  }

  std::unique_ptr<catalogue::Catalogue> catalogue_;
  scan::Selection selection_;
  std::size_t changes_ = 0;  // noted
};

INSTANTIATE_TEST_SUITE_P(On, HostileListing, ::testing::Values("tmpfs"), [](const auto& instance) { return instance.param; });

// Each directory holds another one.
TEST_P(HostileListing, ADirectoryWithoutABottomIsGivenUp) {
  std::size_t asked = 0;
  const absl::Status status = LearnAll([&](const std::string& path, wire::Listing* listing) {
    ++asked;
    if (!absl::StartsWith(path, ".fanmirror")) listing->entries.push_back(Directory(std::string(wire::kMaxNameBytes, 'd')));
  });
  EXPECT_EQ(model::ReactionOf(status), Reaction::kReconnect) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("bytes"));
  EXPECT_LE(asked, 3 + wire::kMaxPathBytes / wire::kMaxNameBytes);
}

// The same name again and again is noted once.
TEST_P(HostileListing, OneNameAThousandTimesIsOne) {
  MakeDirectory("source/d");
  const absl::Status status = LearnAll([](const std::string& path, wire::Listing* listing) {
    if (path.empty()) listing->entries.assign(wire::kMaxListingEntries, Directory("d"));
  });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_LE(changes_, 2u);
}

}  // namespace
}  // namespace fanmirror::replicate
