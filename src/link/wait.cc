#include "link/wait.h"

#include <algorithm>

namespace fanmirror::link {
namespace {

constexpr absl::Duration kLongestWait = absl::Hours(24 * 20);  // poll(2) takes an int of milliseconds

}  // namespace

WaitDeadline::WaitDeadline(absl::Duration timeout)
    : infinite_(timeout == absl::InfiniteDuration()),
      at_(Clock::now() + absl::ToChronoNanoseconds(std::min(timeout, kLongestWait))) {}

int WaitDeadline::MillisecondsLeft() const {
  if (infinite_) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(at_ - Clock::now()).count();
  return static_cast<int>(std::max<long>(left, 0));
}

int SoonerOf(int milliseconds, int other) {
  if (milliseconds < 0) return other;
  return other < 0 ? milliseconds : std::min(milliseconds, other);
}

}  // namespace fanmirror::link
