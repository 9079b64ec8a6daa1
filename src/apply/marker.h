#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace fanmirror::apply {

// Says whose mirror a directory is: .fanmirror/marker. Its grammar:
//   "fanmirror-marker 1\n" "job=" text "\n" "instance=" text "\n" "source=" text "\n"
struct Marker {
  std::string job;
  std::string instance;
  std::string source;  // for people
  friend bool operator==(const Marker&, const Marker&) = default;
};

std::string FormatMarker(const Marker& marker);
// nullopt for anything that FormatMarker does not write.
std::optional<Marker> ParseMarker(std::string_view text);

// What lies in the directory `home_fd`.
struct FoundMarker {
  bool exists = false;
  std::optional<Marker> marker;  // nullopt with `exists`: damaged
};
absl::StatusOr<FoundMarker> ReadMarker(int home_fd);

// Durable when it returns OK, and whole at any time. Blocks for the disk.
absl::Status WriteMarker(int home_fd, const Marker& marker);

}  // namespace fanmirror::apply
