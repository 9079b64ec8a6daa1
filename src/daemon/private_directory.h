#pragma once

#include <string>

#include "absl/status/status.h"

namespace fanmirror::daemon {

// Makes the directory `path` with its missing parents, each for the owner only (0700); one that exists stays
// as it is.
absl::Status MakePrivateDirectory(const std::string& path);

}  // namespace fanmirror::daemon
