#include "watch/pacer.h"

#include "gtest/gtest.h"

namespace fanmirror::watch {
namespace {

constexpr absl::Duration kAtOnce = absl::ZeroDuration();

class PacerTest : public ::testing::Test {
 protected:
  absl::Duration ReadAfter(absl::Duration passed, std::size_t events) {
    now_ += passed;
    return pacer_.AfterRead(now_, events);
  }
  void MakeLoad() {
    while (ReadAfter(absl::Microseconds(20), 3) == kAtOnce) {
    }
  }
  Pacer pacer_;
  absl::Time now_ = absl::UnixEpoch();
};

TEST_F(PacerTest, AFewEventsAreReadAtOnce) {
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(ReadAfter(absl::Milliseconds(3), 2), kAtOnce) << i;
  }
}

TEST_F(PacerTest, ABurstOfAFewIsReadAtOnce) {
  for (int i = 0; i < Pacer::kPromptReads - 1; ++i)
    EXPECT_EQ(ReadAfter(absl::Microseconds(20), 1), kAtOnce) << i;
}

TEST_F(PacerTest, UnderLoadItTicks) {
  MakeLoad();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(ReadAfter(Pacer::kTick, 500), Pacer::kTick) << i;
}

TEST_F(PacerTest, AQuietTickEndsTheLoad) {
  MakeLoad();
  EXPECT_EQ(ReadAfter(Pacer::kTick, Pacer::kFewEvents), Pacer::kTick);
  EXPECT_EQ(ReadAfter(Pacer::kTick, Pacer::kFewEvents - 1), kAtOnce);
  EXPECT_EQ(ReadAfter(absl::Microseconds(20), 1), kAtOnce);
}

}  // namespace
}  // namespace fanmirror::watch
