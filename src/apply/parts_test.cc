#include <gtest/gtest.h>

#include <future>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "apply/marker.h"
#include "apply/poison.h"
#include "apply/syncer.h"
#include "model/failure.h"

namespace fanmirror::apply {
namespace {

// What a Syncer did, in order.
class Log {
 public:
  void Add(std::string line) {
    const std::lock_guard lock(mutex_);
    lines_.push_back(std::move(line));
  }
  std::vector<std::string> lines() const {
    const std::lock_guard lock(mutex_);
    return lines_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
};

TEST(Syncer, OneSyncCoversWhatEndedWhileTheLastOneRan) {
  Log log;
  std::promise<void> first_began, go_on;
  bool first = true;  // of the thread of the Syncer
  {
    ThreadSyncer syncer({.sync =
                       [&] {
                         log.Add("sync");
                         if (std::exchange(first, false)) {
                           first_began.set_value();
                           go_on.get_future().wait();
                         }
                         return absl::OkStatus();
                       },
                   .acknowledge =
                       [&](const wire::Ack& ack) {
                         log.Add(std::to_string(ack.number));
                         return absl::OkStatus();
                       }});
    syncer.Ended({1, {}});
    first_began.get_future().wait();
    syncer.Ended({2, {}});
    syncer.Ended({3, {}});
    go_on.set_value();
    EXPECT_TRUE(syncer.Drain().ok());
  }
  EXPECT_EQ(log.lines(), (std::vector<std::string>{"sync", "1", "sync", "2", "3"}));
}

TEST(Syncer, AFailedSyncAcknowledgesNothingEverAfter) {
  Log log;
  ThreadSyncer syncer({.sync = [&] { return model::Failure(model::Reaction::kReconnect, "the disk is gone"); },
                 .acknowledge =
                     [&](const wire::Ack& ack) {
                       log.Add(std::to_string(ack.number));
                       return absl::OkStatus();
                     }});
  syncer.Ended({1, {}});
  EXPECT_EQ(std::string(syncer.Drain().message()), "the disk is gone");
  for (std::uint64_t i = 2; i < 2 * ThreadSyncer::kMaxWaiting; ++i) syncer.Ended({i, {}});
  EXPECT_FALSE(syncer.Drain().ok());
  EXPECT_TRUE(log.lines().empty());
}

TEST(Poison, CoversWhatLiesBelowUntilItIsSettled) {
  Poison poison;
  poison.Add("a/b", 3);
  EXPECT_TRUE(poison.Covers("a/b"));
  EXPECT_TRUE(poison.Covers("a/b/c/d"));
  EXPECT_FALSE(poison.Covers("a"));
  EXPECT_FALSE(poison.Covers("a/bc"));
  EXPECT_TRUE(poison.LiesBelow("a"));
  EXPECT_FALSE(poison.LiesBelow("a/b"));
  poison.Add("a/b", 5);
  poison.Settle(4);
  EXPECT_TRUE(poison.Covers("a/b"));
  poison.Settle(5);
  EXPECT_TRUE(poison.empty());
}

TEST(Poison, MovesWithDirectories) {
  Poison poison;
  poison.Add("a/x", 1);
  poison.Add("b/y", 1);
  poison.Exchange("a", "b");
  EXPECT_TRUE(poison.Covers("b/x"));
  EXPECT_TRUE(poison.Covers("a/y"));
  EXPECT_FALSE(poison.Covers("a/x"));
  poison.Move("a", "c/d");
  EXPECT_TRUE(poison.Covers("c/d/y"));
  EXPECT_FALSE(poison.LiesBelow("a"));
}

TEST(Poison, IsBounded) {
  Poison poison;
  for (int i = 0; i < 300 && !poison.overfull(); ++i) {
    poison.Add(std::to_string(i) + std::string(wire::kMaxPathBytes, 'x'), 1);
  }
  EXPECT_TRUE(poison.overfull());
  poison.Settle(1);
  EXPECT_FALSE(poison.overfull());
}

TEST(Marker, ComesBackAndNothingElseDoes) {
  const Marker marker{"job = x", "id", "host:/srv"};
  const std::string text = FormatMarker(marker);
  EXPECT_EQ(ParseMarker(text), marker);
  for (std::size_t cut = 0; cut < text.size(); ++cut)
    EXPECT_FALSE(ParseMarker(text.substr(0, cut)).has_value());
  EXPECT_FALSE(ParseMarker(text + "x").has_value());
}

}  // namespace
}  // namespace fanmirror::apply
