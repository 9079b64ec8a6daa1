#pragma once

#include <cstdint>

#include "model/metadata.h"

namespace fanmirror::os {

// Nanoseconds; thread-safe; never fail.
std::int64_t RealtimeNs();   // since 1970, as files are stamped; jumps when the clock is set
std::int64_t MonotonicNs();  // never goes back; stands still while the host is suspended
std::int64_t BoottimeNs();  // never goes back; counts suspension: for time limits that people or peers notice

// A ctime within this of the moment when it was read does not prove that nothing changed afterwards: a file
// is stamped with the time of the last timer tick, up to 10 ms ago (HZ=100, the slowest that kernels are
// built with), and the stamp can become visible up to 20 ms before the data it is for.
inline constexpr std::int64_t kRacyWindowNs = 20'000'000 + 10'000'000;

// Whether a change after `now_ns` (RealtimeNs when the ctime was read) could leave the same ctime. A ctime
// far ahead of the clock cannot be met by chance: the next change brings it back to the present.
bool IsRacy(model::Timestamp ctime, std::int64_t now_ns);

}  // namespace fanmirror::os
