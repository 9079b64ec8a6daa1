#include "daemon/barrier.h"

#include <atomic>
#include <thread>

#include "absl/time/clock.h"
#include "daemon/testing/fake_replicator.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fanmirror::daemon {
namespace {

using testing::AddJob;
using ::testing::AllOf;
using testing::FakeReplicator;
using ::testing::HasSubstr;

class BarrierTest : public ::testing::Test {
 protected:
  absl::Status Wait(const BarrierRequest& request) {
    return WaitForBarrier(jobs_, request, [] { return false; });
  }
  std::string ErrorOf(const BarrierRequest& request) { return std::string(Wait(request).message()); }

  Jobs jobs_;
  std::atomic<bool> reopened_{false};
  FakeReplicator* const a_ = AddJob(&jobs_, "a", "one");
  FakeReplicator* const b_ = AddJob(&jobs_, "b", "two");
};

TEST_F(BarrierTest, IsReachedOnceEveryChosenTargetHasReachedItsMark) {
  a_->mark = 10;
  b_->mark = 20;
  a_->reached = 10;
  EXPECT_TRUE(Wait({"a", "", absl::Seconds(30)}).ok());
  EXPECT_TRUE(Wait({"", "one", absl::Seconds(30)}).ok());
  EXPECT_FALSE(Wait({"", "", absl::ZeroDuration()}).ok());
  b_->reached = 20;
  EXPECT_TRUE(Wait({"", "", absl::Seconds(30)}).ok());
}

TEST_F(BarrierTest, WaitsUntilItIsReached) {
  std::thread later([this] {
    absl::SleepFor(absl::Milliseconds(20));
    a_->reached = 1;
  });
  EXPECT_TRUE(Wait({"a", "", absl::Seconds(30)}).ok());
  later.join();
}

TEST_F(BarrierTest, TellsAfterTheTimeoutWhatItWaitedFor) {
  replicate::Progress progress;
  progress.pending = 12;
  progress.last_error = "no route to host";
  a_->Set(progress);
  EXPECT_EQ(ErrorOf({"a", "", absl::Milliseconds(5)}),
            "not durable after 5ms: a/one (connecting, 12 pending, last error: no route to host)");
}

TEST_F(BarrierTest, FailsAtOnceForATargetThatIsHalted) {
  a_->Halt("the disk is gone");
  const absl::Time begin = absl::Now();
  EXPECT_EQ(ErrorOf({"a", "", absl::Minutes(5)}), "a/one halted: the disk is gone");
  EXPECT_LT(absl::Now() - begin, absl::Minutes(1));
}

TEST_F(BarrierTest, FailsWhenATargetIsHaltedMeanwhile) {
  std::thread later([this] {
    absl::SleepFor(absl::Milliseconds(20));
    a_->Halt("unmounted");
  });
  EXPECT_EQ(ErrorOf({"a", "", absl::Minutes(5)}), "a/one halted: unmounted");
  later.join();
}

TEST_F(BarrierTest, FailsAtOnceForATargetThatIsHeld) {
  Target& target = *jobs_[1]->targets.front();
  target.SetHold(Hold::kPaused, "the source is not there");
  EXPECT_EQ(ErrorOf({"b", "", absl::Minutes(5)}), "b/two paused: the source is not there");
  target.Close();
  target.SetHold(Hold::kNeedsAdoption, "another one is there");
  EXPECT_EQ(ErrorOf({"b", "", absl::Minutes(5)}), "b/two needs-adoption: another one is there");
  EXPECT_TRUE(jobs_[0]->targets.front()->WhyStopped() == std::nullopt);
}

// What the first replicator had not proved, the second finds by its scan: its own mark counts.
TEST_F(BarrierTest, WaitsForTheReplicatorThatRunsNow) {
  a_->mark = 5;
  std::thread later([this] {
    Target& target = *jobs_[0]->targets.front();
    absl::SleepFor(absl::Milliseconds(20));
    auto second = std::make_unique<FakeReplicator>();
    FakeReplicator* raw = second.get();
    raw->mark = 1;
    target.Close();
    target.Run(std::move(second));
    absl::SleepFor(absl::Milliseconds(20));
    reopened_ = true;
    raw->reached = 1;
  });
  EXPECT_TRUE(Wait({"a", "", absl::Seconds(30)}).ok());
  EXPECT_TRUE(reopened_);
  later.join();
}

TEST_F(BarrierTest, NamesWhatThereIsWhenNothingIsChosen) {
  EXPECT_EQ(ErrorOf({"c", "", absl::Minutes(5)}), "no job 'c'; there are: a/one, b/two");
  EXPECT_EQ(ErrorOf({"a", "two", absl::Minutes(5)}), "no target 'two'; there are: a/one, b/two");
  jobs_.clear();
  EXPECT_EQ(ErrorOf({"", "", absl::Minutes(5)}), "no target is configured; there is none");
}

TEST_F(BarrierTest, EndsWhenItIsAbandoned) {
  const absl::Status status = WaitForBarrier(jobs_, {"a", "", absl::InfiniteDuration()}, [] { return true; });
  EXPECT_THAT(std::string(status.message()), HasSubstr("nobody waits"));
}

}  // namespace
}  // namespace fanmirror::daemon
