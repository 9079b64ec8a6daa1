#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "model/metadata.h"
#include "model/xattr.h"

namespace fanmirror::apply {

// What the receiver needs to know of a node of the target.
struct Inspected {
  model::Metadata metadata;
  std::uint64_t inode = 0;
  std::uint64_t device = 0;
};

// statx of `name` relative to `dir_fd` ("": the descriptor itself), never followed. 0 or an errno.
int Inspect(int dir_fd, const char* name, Inspected* out);

// The S_IF... bits of a type.
mode_t FormatBits(model::NodeType type);

// Gives owner, mode, xattrs and mtime, in the order in which none undoes another, to an open node (O_PATH
// will do). The node has nothing yet but what its creation with mode `metadata.mode & 0777` by this process
// gave it.
absl::Status DressFresh(int fd, std::string_view path, const model::Metadata& metadata,
                        absl::Span<const model::Xattr> xattrs);

// The same for a node that has been there, and is `now`: what differs is set, xattrs that are not listed go.
absl::Status DressExisting(int fd, std::string_view path, const Inspected& now,
                           const model::Metadata& metadata, absl::Span<const model::Xattr> xattrs);

}  // namespace fanmirror::apply
