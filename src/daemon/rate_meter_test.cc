#include "daemon/rate_meter.h"

#include "gtest/gtest.h"

namespace fanmirror::daemon {
namespace {

const absl::Time kBegin = absl::FromUnixSeconds(1'000'000);

RateSample At(int seconds, std::uint64_t files, std::uint64_t bytes = 0) {
  return {kBegin + absl::Seconds(seconds), files, bytes, bytes};
}

TEST(RateMeter, NeedsTwoSamples) {
  RateMeter meter;
  EXPECT_EQ(meter.rates().files, 0);
  meter.Add(At(0, 100));
  EXPECT_EQ(meter.rates().files, 0);
  meter.Add(At(1, 150, 4000));
  EXPECT_DOUBLE_EQ(meter.rates().files, 50);
  EXPECT_DOUBLE_EQ(meter.rates().bytes, 4000);
}

TEST(RateMeter, ForgetsWhatIsOlderThanItsWindow) {
  RateMeter meter;
  for (int second = 0; second <= 10; ++second) meter.Add(At(second, second < 5 ? second * 1000 : 5000));
  EXPECT_DOUBLE_EQ(meter.rates().files, 0);  // nothing since second 5
  meter.Add(At(11, 5050));
  EXPECT_DOUBLE_EQ(meter.rates().files, 10);
}

TEST(RateMeter, BeginsAnewWhenACounterGoesDown) {
  RateMeter meter;
  meter.Add(At(0, 1000));
  meter.Add(At(1, 10));
  EXPECT_DOUBLE_EQ(meter.rates().files, 0);
  meter.Add(At(2, 30));
  EXPECT_DOUBLE_EQ(meter.rates().files, 20);
}

TEST(RateMeter, IgnoresAClockThatStandsStill) {
  RateMeter meter;
  meter.Add(At(0, 0));
  meter.Add(At(0, 1000));
  EXPECT_DOUBLE_EQ(meter.rates().files, 0);
}

}  // namespace
}  // namespace fanmirror::daemon
