#include "replicate/reconnect.h"

#include <gtest/gtest.h>

#include <set>

namespace fanmirror::replicate {
namespace {

constexpr std::int64_t kNow = 1'000'000'000'000;

TEST(Reconnect, ThePausesDoubleUpToTheLast) {
  Reconnect reconnect;
  EXPECT_LE(reconnect.at_ns(), kNow);
  std::int64_t longest = Reconnect::kFirstPauseNs;
  for (int i = 0; i < 100; ++i) {
    reconnect.Lost(kNow, 0);
    EXPECT_GE(reconnect.at_ns(), kNow + longest / 2) << i;
    EXPECT_LE(reconnect.at_ns(), kNow + longest) << i;
    longest = std::min(Reconnect::kLastPauseNs, 2 * longest);
  }
  EXPECT_EQ(longest, Reconnect::kLastPauseNs);
}

TEST(Reconnect, NoTwoComeBackTogether) {
  std::set<std::int64_t> moments;
  for (int i = 0; i < 20; ++i) {
    Reconnect reconnect;
    reconnect.Lost(kNow, 0);
    moments.insert(reconnect.at_ns());
  }
  EXPECT_GT(moments.size(), 10U);
}

TEST(Reconnect, WhatWasProvedBeginsAnew) {
  Reconnect reconnect;
  for (int i = 0; i < 20; ++i) reconnect.Lost(kNow, 1'000'000);
  EXPECT_GT(reconnect.at_ns(), kNow + Reconnect::kFirstPauseNs);
  reconnect.Proved();
  reconnect.Lost(kNow, 1'000'000);
  EXPECT_LE(reconnect.at_ns(), kNow + Reconnect::kFirstPauseNs);
}

TEST(Reconnect, SoDoesAConnectionThatStood) {
  Reconnect reconnect;
  for (int i = 0; i < 20; ++i) reconnect.Lost(kNow, 0);
  reconnect.Lost(kNow, Reconnect::kLastPauseNs);
  EXPECT_LE(reconnect.at_ns(), kNow + Reconnect::kFirstPauseNs);
  reconnect.AtOnce();
  EXPECT_LE(reconnect.at_ns(), kNow);
}

}  // namespace
}  // namespace fanmirror::replicate
