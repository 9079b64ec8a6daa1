#include "os/clock.h"

#include <time.h>

namespace fanmirror::os {
namespace {

constexpr std::int64_t kNsPerSecond = 1'000'000'000;

std::int64_t Now(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return now.tv_sec * kNsPerSecond + now.tv_nsec;
}

}  // namespace

std::int64_t RealtimeNs() { return Now(CLOCK_REALTIME); }
std::int64_t MonotonicNs() { return Now(CLOCK_MONOTONIC); }
std::int64_t BoottimeNs() { return Now(CLOCK_BOOTTIME); }

bool IsRacy(model::Timestamp ctime, std::int64_t now_ns) {
  // By seconds first: filesystems hold years whose nanoseconds do not fit 64 bits.
  const std::int64_t now_seconds = now_ns / kNsPerSecond;
  if (ctime.seconds < now_seconds - 1 || ctime.seconds > now_seconds + 1) return false;
  const std::int64_t age =
      (now_seconds - ctime.seconds) * kNsPerSecond + now_ns % kNsPerSecond - ctime.nanoseconds;
  return age > -kRacyWindowNs && age < kRacyWindowNs;
}

}  // namespace fanmirror::os
