#include "replicate/back_off.h"

#include <algorithm>

namespace fanmirror::replicate {

using model::Reaction;

namespace {

constexpr std::int64_t kMillisecond = 1'000'000;
constexpr std::int64_t kSecond = 1'000'000'000;
// More than any first pause needs to reach its last one, and few enough not to overflow.
constexpr int kMaxDoublings = 10;

struct Pauses {
  std::int64_t first;
  std::int64_t last;
};

Pauses PausesOf(Reaction reaction) {
  switch (reaction) {
    case Reaction::kLookAgain:
      return {50 * kMillisecond, 30 * kSecond};
    case Reaction::kSkipAndReport:
      return {10 * kSecond, 300 * kSecond};
    default:
      return {kSecond, 30 * kSecond};
  }
}

}  // namespace

std::int64_t BackOff(Reaction reaction, int failures) {
  const Pauses pauses = PausesOf(reaction);
  return std::min(pauses.last, pauses.first << std::min(failures, kMaxDoublings));
}

}  // namespace fanmirror::replicate
