#pragma once

#include <optional>
#include <string_view>

#include "absl/status/status.h"

namespace fanmirror::cli {

// The exit codes are a contract: scripts depend on them.
inline constexpr int kDone = 0;
inline constexpr int kFailed = 1;  // a difference or a failure
inline constexpr int kUsage = 2;   // usage or configuration

// Writes "fanmirror: LINE" to stderr, on one line whatever it holds, and returns `code`.
int Fail(int code, std::string_view line);
int Fail(int code, const absl::Status& status);

// kUsage, said on stderr, when `command` needs to be root and is not.
std::optional<int> RefuseUnlessRoot(std::string_view command);

}  // namespace fanmirror::cli
