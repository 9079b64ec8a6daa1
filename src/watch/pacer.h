#pragma once

#include <cstddef>

#include "absl/time/time.h"

namespace fanmirror::watch {

// When to read the queue. A reader that is woken by every event slows the writers by half; one that comes
// every 10 ms by a few per cent. So few events are read at once, and many on a tick. Pure.
class Pacer {
 public:
  static constexpr absl::Duration kTick = absl::Milliseconds(10);
  // Reads in one tick before the load counts as such: enough for someone who saves a file.
  static constexpr int kPromptReads = 8;
  // A tick that brought fewer events ends the load.
  static constexpr std::size_t kFewEvents = 8;

  // After a read that brought `events` (more than 0): how long to leave the queue alone.
  absl::Duration AfterRead(absl::Time now, std::size_t events);

 private:
  bool ticking_ = false;
  absl::Time window_begin_ = absl::InfinitePast();
  int reads_ = 0;  // since window_begin_
};

}  // namespace fanmirror::watch
