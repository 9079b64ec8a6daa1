// What the catalogue makes of acknowledged batches, by a session whose far side does as it is told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "model/failure.h"
#include "plan/planner.h"
#include "replicate/replicator_impl.h"
#include "replicate/testing/mirror_fixture.h"

namespace fanmirror::replicate {
namespace {

using model::Op;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsSupersetOf;
using ::testing::Not;

// Batches that were sent and not answered yet.
using Sent = std::deque<std::unique_ptr<Batch>>;

// Its target is empty in the beginning, and is believed to do what is acknowledged.
class ScriptedSession : public Session {
 public:
  ScriptedSession(SessionOptions options, Sent* sent) : options_(std::move(options)), sent_(sent) {
    wire::HelloReply reply;
    reply.empty = true;
    options_.on_event(Connected{std::move(reply)});
  }
  void Send(std::unique_ptr<Batch> batch) override { sent_->push_back(std::move(batch)); }
  void Ask(Question question) override {
    wire::Listing nothing;
    nothing.id = std::get<wire::List>(question).id;
    nothing.last = true;
    options_.on_event(Answered{std::move(nothing)});
  }
  void Acknowledge(std::unique_ptr<Batch> batch) { options_.on_event(Acknowledged{std::move(batch)}); }

 private:
  SessionOptions options_;
  Sent* const sent_;
};

// The replicator without threads of its own.
class TurnedReplicator : public ReplicatorImpl {
 public:
  using ReplicatorImpl::ReplicatorImpl;
  using ReplicatorImpl::Turn;
  ScriptedSession* session() { return session_; }
  Sent sent;

 protected:
  void WaitUntil(std::int64_t, absl::FunctionRef<bool()>) override {}
  std::unique_ptr<Session> NewSession(SessionOptions options) override {
    auto session = std::make_unique<ScriptedSession>(std::move(options), &sent);
    session_ = session.get();
    return session;
  }

 private:
  ScriptedSession* session_ = nullptr;
};

class SettlingTest : public testing::MirrorTest {
 protected:
  void Start(absl::Duration settle = absl::ZeroDuration()) {
    Options options = MakeOptions();
    options.settle = settle;
    options.max_delay = absl::Minutes(1);
    std::filesystem::create_directories(options.state_dir);
    auto stores = OpenStores(options);
    ASSERT_TRUE(stores.ok()) << stores.status();
    auto turned = std::make_unique<TurnedReplicator>(options, *std::move(stores));
    turned_ = turned.get();
    replicator_ = std::move(turned);
    turned_->Rescan();
    Settle();
  }
  // Turns until a batch is sent; its ops in a few words.
  std::vector<std::string> NextBatch() {
    const std::size_t had = turned_->sent.size();
    Await([&] { return turned_->sent.size() > had; });
    return turned_->sent.size() == had ? std::vector<std::string>() : OpsOf(*turned_->sent.back());
  }
  // Answers the oldest batch: ops whose text is among `untried` were not tried by the receiver.
  void Acknowledge(const std::vector<std::string>& untried = {}) {
    ASSERT_FALSE(turned_->sent.empty());
    std::unique_ptr<Batch> batch = std::move(turned_->sent.front());
    turned_->sent.pop_front();
    batch->results.resize(batch->steps.size());
    for (std::size_t i = 0; i < batch->steps.size(); ++i) {
      if (std::find(untried.begin(), untried.end(), Text(batch->steps[i].op)) == untried.end()) continue;
      batch->results[i].kind = OpResult::Kind::kFailed;
      batch->results[i].status = model::Failure(model::Reaction::kLookAgain, "an op before it failed there");
      batch->results[i].untried = true;
    }
    turned_->session()->Acknowledge(std::move(batch));
  }
  // All that is to be done is done, and was told in `ops`.
  std::vector<std::string> Settle() {
    std::vector<std::string> ops;
    const std::uint64_t mark = turned_->Mark();
    Await([&] {
      while (!turned_->sent.empty()) {
        const std::vector<std::string> of_batch = OpsOf(*turned_->sent.front());
        ops.insert(ops.end(), of_batch.begin(), of_batch.end());
        Acknowledge();
      }
      return turned_->Reached(mark);
    });
    return ops;
  }

  TurnedReplicator* turned_ = nullptr;  // replicator_

 private:
  static std::vector<std::string> OpsOf(const Batch& batch) {
    std::vector<std::string> ops;
    for (const plan::Step& step : batch.steps) {
      if (step.op.kind != Op::Kind::kSetMetadata) ops.push_back(Text(step.op));
    }
    return ops;
  }
  static std::string Text(const Op& op) {
    switch (op.kind) {
      case Op::Kind::kMake:
        return "make " + op.path;
      case Op::Kind::kPut:
        return "put " + op.path;
      case Op::Kind::kLink:
        return absl::StrCat("link ", op.path, " <- ", op.from);
      case Op::Kind::kRename:
        return absl::StrCat("rename ", op.path, " <- ", op.from);
      case Op::Kind::kRemove:
        return "remove " + op.path;
      default:
        return "other " + op.path;
    }
  }
  void Await(const std::function<bool()>& condition) {
    EXPECT_TRUE(MirrorTest::Await([&] {
      if (condition()) return true;
      turned_->Turn();
      return false;
    })) << Situation();
  }
};

INSTANTIATE_TEST_SUITE_P(On, SettlingTest, ::testing::Values("tmpfs"), [](const auto& instance) { return instance.param; });

// A name that was to follow its file, and that the target has never given to that file: what it has there stays known.
TEST_P(SettlingTest, ANameThatCouldNotFollowIsLeftToWhatItStillMeans) {
  MakeDirectory("source/d");
  WriteFile("source/d/x", "text");
  WriteFile("source/A", "old text");
  ASSERT_NO_FATAL_FAILURE(Start());

  Rename("source/d", "source/z");
  ASSERT_EQ(::link(At("source/A").c_str(), At("source/d").c_str()), 0);
  WriteFile("source/A", "the new text");
  Tell({Name("d"), Name("z"), plan::NodeChange(IdOf("source/A"))});
  ASSERT_THAT(NextBatch(), ElementsAre("rename z <- d", "link d <- A", "put A", "link d <- A"));
  Acknowledge({"rename z <- d", "link d <- A"});

  const std::vector<std::string> ops = Settle();
  EXPECT_THAT(ops, IsSupersetOf({"rename z <- d", "link d <- A"}));
  EXPECT_THAT(ops, Not(Contains("make z")));
}

// An older change whose turn comes later finds that what it needs is under way, and relies on it.
TEST_P(SettlingTest, WhatFailsIsAsOldAsAllThatReliedOnIt) {
  constexpr absl::Duration kSettle = absl::Milliseconds(200);
  ASSERT_NO_FATAL_FAILURE(Start(kSettle));
  MakeDirectory("source/d");
  WriteFile("source/d/x", "text");
  turned_->Rescan();
  const std::uint64_t first = turned_->Mark();
  absl::SleepFor(kSettle / 4);
  Tell({Name("d/x")});
  absl::SleepFor(kSettle / 4);
  turned_->Rescan();
  ASSERT_THAT(NextBatch(), ElementsAre("make d", "put d/x"));
  for (const absl::Time end = absl::Now() + kSettle / 2; absl::Now() < end;) turned_->Turn();
  while (!turned_->sent.empty()) Acknowledge({"make d", "put d/x"});
  turned_->Turn();
  EXPECT_FALSE(turned_->Reached(first));
  EXPECT_THAT(Settle(), Contains("make d"));
  EXPECT_TRUE(turned_->Reached(first));
}

}  // namespace
}  // namespace fanmirror::replicate
