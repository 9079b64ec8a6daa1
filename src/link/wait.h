#pragma once

#include <chrono>

#include "absl/time/time.h"

namespace fanmirror::link {

// The end of a wait that poll(2) does in several steps.
class WaitDeadline {
 public:
  explicit WaitDeadline(absl::Duration timeout);

  // As poll(2) takes it: -1 for ever. Rounded up, so that a wait never ends early and then spins.
  int MillisecondsLeft() const;
  bool over() const { return MillisecondsLeft() == 0; }

 private:
  using Clock = std::chrono::steady_clock;
  bool infinite_;
  Clock::time_point at_;
};

// The sooner of two times as poll(2) takes them.
int SoonerOf(int milliseconds, int other);

}  // namespace fanmirror::link
