#pragma once

#include <cstdint>
#include <deque>

#include "absl/time/time.h"

namespace fanmirror::daemon {

// A target's counters at one moment.
struct RateSample {
  absl::Time time;
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  std::uint64_t wire_bytes = 0;
};

// Per second.
struct Rates {
  double files = 0;
  double bytes = 0;
  double wire_bytes = 0;
};

// The mean rates over the last kWindow. Not thread-safe.
class RateMeter {
 public:
  static constexpr absl::Duration kWindow = absl::Seconds(5);

  // In the order of time; counters that went down (a new run) begin a new window.
  void Add(const RateSample& sample);
  Rates rates() const;

 private:
  std::deque<RateSample>
      samples_;  // the first is the newest one that is at least kWindow old, if there is any
};

}  // namespace fanmirror::daemon
