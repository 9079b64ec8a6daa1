#include "watch/pacer.h"

namespace fanmirror::watch {

absl::Duration Pacer::AfterRead(absl::Time now, std::size_t events) {
  if (ticking_) {
    if (events >= kFewEvents) return kTick;
    ticking_ = false;
    window_begin_ = now;
    reads_ = 0;
    return absl::ZeroDuration();
  }
  if (now - window_begin_ >= kTick) {
    window_begin_ = now;
    reads_ = 0;
  }
  if (++reads_ < kPromptReads) return absl::ZeroDuration();
  ticking_ = true;
  return kTick;
}

}  // namespace fanmirror::watch
