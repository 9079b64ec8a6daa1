#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace fanmirror::cli {

// "100ms", "1s", "2m30s", "0": not negative, finite. `option` is for the message.
absl::StatusOr<absl::Duration> ParseDuration(const std::string& option, const std::string& text);

// "50MiB/s", "800k", "1000000": bytes a second. k, M, G count by 1000 and Ki, Mi, Gi by 1024; "B" and "/s" may follow.
absl::StatusOr<std::uint64_t> ParseRate(const std::string& option, const std::string& text);

// "12.3 MiB", "980 B".
std::string FormatBytes(double bytes);

// "0:07", "12:30", "3:05:00".
std::string FormatSeconds(double seconds);

}  // namespace fanmirror::cli
