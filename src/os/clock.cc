#include "os/clock.h"

#include <time.h>

#include <fstream>

namespace fanmirror::os {
namespace {

constexpr std::int64_t kNsPerSecond = 1'000'000'000;

std::int64_t Now(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return now.tv_sec * kNsPerSecond + now.tv_nsec;
}

// Filesystems hold years whose nanoseconds do not fit 64 bits, so times are compared as timestamps.
model::Timestamp TimestampOf(std::int64_t ns) {
  std::int64_t seconds = ns / kNsPerSecond;
  if (ns % kNsPerSecond < 0) --seconds;
  return {seconds, static_cast<std::uint32_t>(ns - seconds * kNsPerSecond)};
}

}  // namespace

std::int64_t RealtimeNs() { return Now(CLOCK_REALTIME); }
std::int64_t MonotonicNs() { return Now(CLOCK_MONOTONIC); }
std::int64_t BoottimeNs() { return Now(CLOCK_BOOTTIME); }

std::string BootId() {
  std::ifstream in("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(in, id);
  return id;
}

bool IsRacy(model::Timestamp ctime, std::int64_t earliest_ns, std::int64_t latest_ns) {
  return TimestampOf(earliest_ns - kRacyWindowNs) < ctime && ctime < TimestampOf(latest_ns + kRacyWindowNs);
}

}  // namespace fanmirror::os
