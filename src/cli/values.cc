#include "cli/values.h"

#include <array>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "model/failure.h"

namespace fanmirror::cli {
namespace {

struct Unit {
  const char* prefix;  // in lower case
  double bytes;
};
// Those that end like another one come before it.
constexpr std::array<Unit, 8> kUnits = {{{"ki", 1024.0},
                                         {"mi", 1024.0 * 1024},
                                         {"gi", 1024.0 * 1024 * 1024},
                                         {"ti", 1024.0 * 1024 * 1024 * 1024},
                                         {"k", 1e3},
                                         {"m", 1e6},
                                         {"g", 1e9},
                                         {"t", 1e12}}};

}  // namespace

absl::StatusOr<absl::Duration> ParseDuration(const std::string& option, const std::string& text) {
  absl::Duration duration;
  if (!absl::ParseDuration(text, &duration) || duration < absl::ZeroDuration() ||
      duration == absl::InfiniteDuration()) {
    return absl::InvalidArgumentError(
        absl::StrCat(option, " ", model::QuotePath(text), " is no duration; write it like 100ms, 2s or 1m30s"));
  }
  return duration;
}

absl::StatusOr<std::uint64_t> ParseRate(const std::string& option, const std::string& text) {
  const absl::Status refusal = absl::InvalidArgumentError(
      absl::StrCat(option, " ", model::QuotePath(text), " is no rate; write it like 50MiB/s, 800kB/s or 1000000"));
  std::string number = absl::AsciiStrToLower(text);
  absl::string_view rest = number;
  absl::ConsumeSuffix(&rest, "/s");
  absl::ConsumeSuffix(&rest, "b");
  double factor = 1;
  for (const Unit& unit : kUnits) {
    if (!absl::ConsumeSuffix(&rest, unit.prefix)) continue;
    factor = unit.bytes;
    break;
  }
  double value = 0;
  rest = absl::StripAsciiWhitespace(rest);
  if (rest.empty() || !absl::ascii_isdigit(static_cast<unsigned char>(rest.front())) ||
      !absl::SimpleAtod(rest, &value)) {
    return refusal;
  }
  const double bytes = value * factor;
  constexpr double kMost = 1e15;
  if (!std::isfinite(bytes) || bytes > kMost || (bytes < 1 && bytes != 0)) return refusal;
  return static_cast<std::uint64_t>(bytes);
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
