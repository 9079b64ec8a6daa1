#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "model/failure.h"

namespace fanmirror::apply {

// What an op was doing when the kernel refused.
enum class Step {
  kResolve,  // reaching a directory below the root
  kInspect,  // statx
  kCreate,   // making a node in the staging area
  kWrite,    // its content
  kOwner,
  kMode,
  kXattr,
  kTimes,
  kLink,
  kRename,
  kExchange,
  kRemove,
  kList,
  kRead,
};

// The failure of one step, with the reaction and the cure that the table in failures.cc has for it. `path`:
// relative to the root. `cure`, if given, takes the place of the table's.
absl::Status StepFailure(Step step, std::string_view path, int errno_value, std::string_view cure = "");

// The failure of a look-up says that nothing can be there: no such name, or no directory on the way to it (a
// symlink is none). As against: it cannot be told.
bool MeansAbsent(const absl::Status& status);

// A place that is not as the source believes it to be.
absl::Status NotAsExpected(Step step, std::string_view path, std::string_view why);

// "; 'NAME' is immutable on the target: ..." when attributes set with chattr(1) on the node or its directory
// explain an EPERM; empty otherwise. `name` relative to `dir_fd`, never followed.
std::string ChattrCure(int dir_fd, const char* name, std::string_view path);

}  // namespace fanmirror::apply
