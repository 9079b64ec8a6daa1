#include "cli/progress_line.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/values.h"
#include "model/failure.h"

namespace fanmirror::cli {
namespace {

// A file costs about what so many bytes of content cost: creating, renaming, settling it.
constexpr double kBytesLikeAFile = 64 * 1024;
// Before this, the mean speed says nothing yet.
constexpr double kShortestElapsed = 0.5;

double Work(double files, double bytes) { return files + bytes / kBytesLikeAFile; }

std::size_t SequenceLength(unsigned char lead) {
  return lead < 0x80 ? 1 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
}

}  // namespace

std::optional<double> SecondsLeft(const SyncProgress& progress) {
  if (!progress.total || progress.elapsed_seconds < kShortestElapsed) return std::nullopt;
  const double all =
      Work(static_cast<double>(progress.total->files), static_cast<double>(progress.total->bytes));
  const double done =
      std::min(all, Work(static_cast<double>(progress.files), static_cast<double>(progress.bytes)));
  if (done <= 0) return std::nullopt;
  return progress.elapsed_seconds * (all - done) / done;
}

std::string FormatSync(const SyncProgress& progress) {
  std::string line;
  if (progress.total) {
    // The source may have grown since it was counted.
    line = absl::StrFormat("%d of %d files, %s of %s", progress.files,
                           std::max(progress.files, progress.total->files),
                           FormatBytes(static_cast<double>(progress.bytes)),
                           FormatBytes(static_cast<double>(std::max(progress.bytes, progress.total->bytes))));
  } else {
    line = absl::StrFormat("%d files, %s", progress.files, FormatBytes(static_cast<double>(progress.bytes)));
  }
  absl::StrAppend(&line, ", ", FormatBytes(progress.bytes_per_second), "/s");
  if (const auto left = SecondsLeft(progress)) absl::StrAppend(&line, ", ", FormatSeconds(*left), " left");
  return line;
}

std::string FormatLive(double lag_seconds, std::uint64_t pending, std::string_view last_path) {
  std::string line = absl::StrFormat("live: lag %.1f s, %d pending", lag_seconds, pending);
  if (!last_path.empty()) absl::StrAppend(&line, ", last ", model::QuotePath(last_path));
  return line;
}

std::string CutToWidth(std::string_view line, std::size_t columns) {
  constexpr std::string_view kDots = "...";
  std::size_t used = 0;
  std::size_t fits_with_dots = 0;  // bytes
  for (std::size_t at = 0; at < line.size();) {
    const std::size_t length =
        std::min(SequenceLength(static_cast<unsigned char>(line[at])), line.size() - at);
    used += length >= 3 ? 2 : 1;
    if (used > columns) {
      if (columns < kDots.size()) return std::string(kDots.substr(0, columns));
      return std::string(line.substr(0, fits_with_dots)) + std::string(kDots);
    }
    at += length;
    if (used + kDots.size() <= columns) fits_with_dots = at;
  }
  return std::string(line);
}

}  // namespace fanmirror::cli
