#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fanmirror::cli {

// What is known of an initial sync while it runs.
struct SyncProgress {
  std::uint64_t files = 0;  // durable, or found equal
  std::uint64_t bytes = 0;  // durable, or on the way
  struct Total {
    std::uint64_t files = 0;
    std::uint64_t bytes = 0;
  };
  std::optional<Total> total;  // once the source is counted
  double bytes_per_second = 0;
  double elapsed_seconds = 0;  // since the receiver was there
};

// "12034 of 50000 files, 47.0 MiB of 195.3 MiB, 12.3 MiB/s, 0:12 left".
std::string FormatSync(const SyncProgress& progress);

// Seconds until the rest is done at the mean speed so far; nullopt when nothing can be said.
std::optional<double> SecondsLeft(const SyncProgress& progress);

// "live: lag 0.0 s, 3 pending, last 'a/b'".
std::string FormatLive(double lag_seconds, std::uint64_t pending, std::string_view last_path);

// The front of `line` that fits `columns`, with "..." when something is cut. UTF-8 stays whole; a character
// of three or four bytes is taken to be two columns wide, so that the line never runs over.
std::string CutToWidth(std::string_view line, std::size_t columns);

}  // namespace fanmirror::cli
