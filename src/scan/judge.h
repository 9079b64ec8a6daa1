#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "os/tree.h"
#include "scan/walk.h"

namespace fanmirror::scan {

// What the entry `name` of the open directory `dir_fd` is, when it is there and belongs to the job. `path`:
// its path below the source root. `type`: what the listing says of it (DT_*).
absl::StatusOr<std::optional<model::Node>> JudgeEntry(const os::Tree& tree, const Selection& selection,
                                                      int dir_fd, const std::string& name,
                                                      const std::string& path, unsigned char type);

}  // namespace fanmirror::scan
