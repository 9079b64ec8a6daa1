#pragma once

#include <cstdint>

#include "absl/random/random.h"

namespace fanmirror::replicate {

// When to connect again after a connection was lost or could not be made. The pauses double up to a limit, and a part of
// each is left to chance: the sources of one target that lost it together do not come back together. Times are
// nanoseconds of CLOCK_BOOTTIME.
class Reconnect {
 public:
  static constexpr std::int64_t kFirstPauseNs = 250'000'000;     // a receiver that was restarted is there by then
  static constexpr std::int64_t kLastPauseNs = 30'000'000'000;   // a target that is back waits no longer

  // Not to connect before.
  std::int64_t at_ns() const { return at_ns_; }
  void AtOnce() { at_ns_ = 0; }
  // `stood_ns`: how long the connection stood, 0 when there was none.
  void Lost(std::int64_t now_ns, std::int64_t stood_ns);
  // The target did what it was asked for: the next pause is a first one again. That it can be connected to proves nothing.
  void Proved() { failures_ = 0; }

 private:
  int failures_ = 0;  // in a row
  std::int64_t at_ns_ = 0;
  absl::BitGen random_;
};

}  // namespace fanmirror::replicate
