#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"

namespace fanmirror::cli {

// DST of `mirror`: DIR or [USER@]HOST:DIR.
struct Destination {
  std::optional<std::string> user;
  std::string host;  // empty: a local directory; an IPv6 address without its brackets
  std::string path;  // as written; absolute for a host
};

// A ':' before the first '/' means a host; an IPv6 address stands in brackets. One line on errors.
absl::StatusOr<Destination> ParseDestination(const std::string& text);

}  // namespace fanmirror::cli
