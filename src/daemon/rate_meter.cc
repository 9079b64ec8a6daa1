#include "daemon/rate_meter.h"

namespace fanmirror::daemon {

void RateMeter::Add(const RateSample& sample) {
  if (!samples_.empty()) {
    const RateSample& last = samples_.back();
    if (sample.time <= last.time) return;
    if (sample.files < last.files || sample.bytes < last.bytes || sample.wire_bytes < last.wire_bytes) {
      samples_.clear();
    }
  }
  samples_.push_back(sample);
  while (samples_.size() > 2 && sample.time - samples_[1].time >= kWindow) samples_.pop_front();
}

Rates RateMeter::rates() const {
  if (samples_.size() < 2) return {};
  const RateSample& first = samples_.front();
  const RateSample& last = samples_.back();
  const double seconds = absl::ToDoubleSeconds(last.time - first.time);
  return {static_cast<double>(last.files - first.files) / seconds,
          static_cast<double>(last.bytes - first.bytes) / seconds,
          static_cast<double>(last.wire_bytes - first.wire_bytes) / seconds};
}

}  // namespace fanmirror::daemon
