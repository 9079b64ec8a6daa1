#include "replicate/reconnect.h"

#include <algorithm>

namespace fanmirror::replicate {

namespace {

// The doubling that reaches kLastPauseNs.
constexpr int kDoublings = 7;

}  // namespace

void Reconnect::Lost(std::int64_t now_ns, std::int64_t stood_ns) {
  if (stood_ns >= kLastPauseNs) Proved();
  const std::int64_t pause = std::min(kLastPauseNs, kFirstPauseNs << std::min(failures_, kDoublings));
  ++failures_;
  at_ns_ = now_ns + absl::Uniform<std::int64_t>(random_, pause / 2, pause + 1);
}

}  // namespace fanmirror::replicate
