#include "cli/values.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "config/values.h"

namespace fanmirror::cli {
namespace {

template <typename T>
absl::StatusOr<T> ForOption(const std::string& option, absl::StatusOr<T> value) {
  if (value.ok()) return value;
  return absl::InvalidArgumentError(absl::StrCat(option, " ", std::string(value.status().message())));
}

}  // namespace

absl::StatusOr<absl::Duration> ParseDuration(const std::string& option, const std::string& text) {
  return ForOption(option, config::ParseDuration(text));
}

absl::StatusOr<std::uint64_t> ParseRate(const std::string& option, const std::string& text) {
  return ForOption(option, config::ParseRate(text));
}

std::string FormatBytes(double bytes) {
  constexpr std::array<const char*, 5> kNames = {"KiB", "MiB", "GiB", "TiB", "PiB"};
  if (bytes < 1024) return absl::StrFormat("%.0f B", bytes);
  std::size_t step = 0;
  for (bytes /= 1024; bytes >= 1024 && step + 1 < kNames.size(); ++step) bytes /= 1024;
  return absl::StrFormat("%.1f %s", bytes, kNames[step]);
}

std::string FormatSeconds(double seconds) {
  const auto whole = static_cast<std::int64_t>(std::max(0.0, std::ceil(std::min(seconds, 1e9))));
  if (whole < 3600) return absl::StrFormat("%d:%02d", whole / 60, whole % 60);
  return absl::StrFormat("%d:%02d:%02d", whole / 3600, whole / 60 % 60, whole % 60);
}

}  // namespace fanmirror::cli
