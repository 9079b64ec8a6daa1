#pragma once

#include <cstdint>
#include <string>

#include "model/metadata.h"

namespace fanmirror::os {

// Nanoseconds; thread-safe; never fail.
std::int64_t RealtimeNs();   // since 1970, as files are stamped; jumps when the clock is set
std::int64_t MonotonicNs();  // never goes back; stands still while the host is suspended
std::int64_t BoottimeNs();  // never goes back; counts suspension: for time limits that people or peers notice

// Names the time since the host was booted, as the kernel does (a UUID); empty where it does not tell.
std::string BootId();

// A ctime within this of the moment when it was read does not prove that nothing changed afterwards: a file
// is stamped with the time of the last timer tick, up to 10 ms ago (HZ=100, the slowest that kernels are
// built with), and the stamp can become visible up to 20 ms before the data it is for.
inline constexpr std::int64_t kRacyWindowNs = 20'000'000 + 10'000'000;

// Whether a change after the moment when a ctime was read could have left the same ctime. That moment lay
// between `earliest_ns` and `latest_ns` (RealtimeNs before and after). A ctime far ahead of the clock is not
// met by chance: the next change brings it back to the present.
bool IsRacy(model::Timestamp ctime, std::int64_t earliest_ns, std::int64_t latest_ns);

}  // namespace fanmirror::os
