#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace fanmirror::replicate {

// A file of a few lines in a target's state directory, which is whole at any time: the old text or the new one, also after
// a power cut. All of it blocks for the disk. Errors are kRetry where room or memory lack, else kHaltJob.

// nullopt when there is none.
absl::StatusOr<std::optional<std::string>> ReadStateFile(const std::string& path);
// Durable when it returns OK. The directory exists.
absl::Status WriteStateFile(const std::string& path, const std::string& text);
// The same; OK when there is none.
absl::Status RemoveStateFile(const std::string& path);

}  // namespace fanmirror::replicate
