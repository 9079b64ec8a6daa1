#pragma once

#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "model/file_id.h"
#include "os/tree.h"
#include "scan/walk.h"

namespace fanmirror::scan {

// Calls `visit` for each entry of the directory `dir` at `path` ("": the root) that belongs to the job, until it is false.
// No look at the entries themselves, but where the filesystem does not tell what they are. A directory that is gone has
// none. Blocks on the filesystem.
absl::Status ForEachName(const os::Tree& tree, const Selection& selection, const model::FileId& dir, const std::string& path,
                         absl::FunctionRef<bool(const std::string& name)> visit);

}  // namespace fanmirror::scan
