#include "plan/delete_guard.h"

#include <gtest/gtest.h>

namespace fanmirror::plan {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr DeleteGuard::Limit kHalf{.fraction = 0.5, .count = std::nullopt};

DeleteGuard::Situation At(std::int64_t second, std::uint64_t entries = 10'000) {
  return {.now_ns = second * kSecond, .entries = entries, .backlog = 0, .scanning = false};
}

TEST(DeleteGuard, AFractionOfTheTreeMayGo) {
  DeleteGuard guard(kHalf, 0);
  EXPECT_EQ(guard.Allowance(At(100)), 5'000U);
  EXPECT_EQ(guard.Allowance(At(100, 1'001)), 500U);
}

TEST(DeleteGuard, SmallTreesAndNoLimitAreNotGuarded) {
  DeleteGuard guard(kHalf, 0);
  EXPECT_EQ(guard.Allowance(At(100, DeleteGuard::kGuardedEntries)), std::nullopt);
  DeleteGuard off({}, 0);
  EXPECT_EQ(off.Allowance(At(100, 1'000'000)), std::nullopt);
}

TEST(DeleteGuard, WhatWentLatelyCountsUntilTheWindowIsOver) {
  DeleteGuard guard(kHalf, 0);
  guard.Planned(2'000);
  EXPECT_EQ(guard.Allowance(At(100)), 3'000U);
  guard.Settled(100 * kSecond, 2'000, 1'900);
  EXPECT_EQ(guard.Allowance(At(159)), 3'100U);
  EXPECT_EQ(guard.Allowance(At(161)), 5'000U);
}

TEST(DeleteGuard, WhatALostConnectionLeavesIsNotCountedTwice) {
  DeleteGuard guard(kHalf, 0);
  guard.Planned(2'000);
  guard.Lost();
  EXPECT_EQ(guard.Allowance(At(100)), 5'000U);
}

TEST(DeleteGuard, NothingGoesBeforeAllIsLookedAt) {
  DeleteGuard guard(kHalf, 0);
  DeleteGuard::Situation scan = At(100);
  scan.scanning = true;
  EXPECT_EQ(guard.Allowance(scan), 0U);
  DeleteGuard::Situation behind = At(100);
  behind.backlog = 5'001;
  EXPECT_EQ(guard.Allowance(behind), 0U);
}

TEST(DeleteGuard, TooMuchIsHeldUntilItIsApproved) {
  DeleteGuard guard(kHalf, 0);
  guard.HeldBack(100 * kSecond);
  EXPECT_EQ(guard.Allowance(At(100)), 0U);
  EXPECT_EQ(guard.Decide(At(100), 5'001), DeleteGuard::Verdict::kHold);
  EXPECT_TRUE(guard.holding());
  EXPECT_EQ(guard.held_of(), 10'000U);
  EXPECT_EQ(guard.Allowance(At(1'000)), 0U);
  EXPECT_TRUE(guard.Approve());
  EXPECT_FALSE(guard.holding());
  EXPECT_EQ(guard.Allowance(At(1'000)), 5'000U) << "an approval is for what is held, not for more";
  EXPECT_FALSE(guard.Approve());
}

TEST(DeleteGuard, WhatIsNotTooMuchIsReleased) {
  DeleteGuard guard(kHalf, 0);
  guard.HeldBack(100 * kSecond);
  EXPECT_EQ(guard.Decide(At(100), 5'000), DeleteGuard::Verdict::kRelease);
  DeleteGuard::Situation behind = At(100);
  behind.backlog = 100'000;
  EXPECT_EQ(guard.Allowance(behind), 5'000U) << "what was released must get through";
  EXPECT_EQ(guard.Allowance(At(101)), 5'000U);
  EXPECT_EQ(guard.Allowance(behind), 0U) << "and then what comes is looked at first";
}

TEST(DeleteGuard, HoldingOutlivesTheProcess) {
  DeleteGuard guard(kHalf, 10'000);
  EXPECT_TRUE(guard.holding());
  guard.HeldBack(0);
  EXPECT_EQ(guard.Decide(At(100), 1), DeleteGuard::Verdict::kHold);
  guard.HeldBack(0);
  EXPECT_EQ(guard.Decide(At(100), 0), DeleteGuard::Verdict::kRelease) << "all that was held is back";
  EXPECT_FALSE(guard.holding());
  DeleteGuard off({}, 10'000);
  EXPECT_FALSE(off.holding());
}

// An adopted target that the source shares nothing with: what is put meanwhile makes the tree no larger for the guard.
TEST(DeleteGuard, ATreeIsAsLargeAsBeforeTheScan) {
  DeleteGuard guard(kHalf, 0);
  guard.ScanBegins(10'000);
  guard.HeldBack(100 * kSecond);
  EXPECT_EQ(guard.Decide(At(100, 25'000), 10'000), DeleteGuard::Verdict::kHold);
}

}  // namespace
}  // namespace fanmirror::plan
