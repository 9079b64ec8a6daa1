#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace fanmirror::cli {

// As in the configuration file; `option` is for the message.
absl::StatusOr<absl::Duration> ParseDuration(const std::string& option, const std::string& text);
absl::StatusOr<std::uint64_t> ParseRate(const std::string& option, const std::string& text);

// "12.3 MiB", "980 B".
std::string FormatBytes(double bytes);

// "0:07", "12:30", "3:05:00".
std::string FormatSeconds(double seconds);

}  // namespace fanmirror::cli
