#pragma once

#include "absl/status/statusor.h"

namespace fanmirror::apply {

// Lets the calling thread, and all that it starts from now on, touch files below `root_fd` (an open directory;
// negative: none) only, and execute none there either; also no TCP and no abstract socket of another process, where the
// kernel knows how. Look-ups, and changes of metadata, are beyond Landlock. Needs no_new_privs. Gives the version of
// the kernel's Landlock; 0, and nothing done, where it has none or one that is of no use: before version 2 it forbids
// every rename from one directory to another. Errors: kReconnect.
absl::StatusOr<int> RestrictTo(int root_fd);

}  // namespace fanmirror::apply
