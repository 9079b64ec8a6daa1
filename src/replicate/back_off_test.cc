#include "replicate/back_off.h"

#include <gtest/gtest.h>

#include <climits>
#include <vector>

namespace fanmirror::replicate {
namespace {

using model::Reaction;

constexpr std::int64_t kMillisecond = 1'000'000;

struct Schedule {
  Reaction reaction;
  std::vector<std::int64_t> pauses_ms;  // one after another; the last one for ever
};

TEST(BackOff, ThePausesDoubleUpToTheLast) {
  const std::vector<std::int64_t> usual = {1'000, 2'000, 4'000, 8'000, 16'000, 30'000};
  for (const Schedule& schedule : std::vector<Schedule>{
           {Reaction::kLookAgain, {50, 100, 200, 400, 800, 1'600, 3'200, 6'400, 12'800, 25'600, 30'000}},
           {Reaction::kSkipAndReport, {10'000, 20'000, 40'000, 80'000, 160'000, 300'000}},
           {Reaction::kRetry, usual},
           {Reaction::kReconnect, usual},
           {Reaction::kHaltJob, usual},
       }) {
    int failures = 0;
    for (const std::int64_t pause : schedule.pauses_ms) {
      EXPECT_EQ(BackOff(schedule.reaction, failures), pause * kMillisecond)
          << model::ReactionName(schedule.reaction) << " after " << failures;
      ++failures;
    }
    for (const int many : {failures, 100, INT_MAX}) {
      EXPECT_EQ(BackOff(schedule.reaction, many), schedule.pauses_ms.back() * kMillisecond)
          << model::ReactionName(schedule.reaction) << " after " << many;
    }
  }
}

}  // namespace
}  // namespace fanmirror::replicate
