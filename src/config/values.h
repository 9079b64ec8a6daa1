#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"

namespace fanmirror::config {

// The notations of values that TOML has no type for. Errors are "cause; cure", without the key's name.

// A whole number and ms, s, m or h: "100ms".
absl::StatusOr<absl::Duration> ParseDuration(std::string_view text);

// A whole number, a unit of 1000 (kB, MB, GB) or 1024 (KiB, MiB, GiB) or B, and "/s": "50MiB/s". Bytes a
// second.
absl::StatusOr<std::uint64_t> ParseRate(std::string_view text);

// A whole number from 1 to 99 and '%': "50%" is 0.5.
absl::StatusOr<double> ParsePercent(std::string_view text);

struct Host {
  std::optional<std::string> user;
  std::string name;
};
// "[USER@]HOST"; HOST may be an IPv6 address without brackets.
absl::StatusOr<Host> ParseHost(std::string_view text);

// The path without repeated and trailing '/' and without "." components; ".." stays.
std::string NormalizePath(std::string_view path);

// The word of `known` that `word` was probably meant to be; empty when none is near.
std::string_view Nearest(std::string_view word, absl::Span<const std::string_view> known);

}  // namespace fanmirror::config
