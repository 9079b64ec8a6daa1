#pragma once

#include <optional>
#include <string>

#include "model/metadata.h"
#include "wire/messages.h"

namespace fanmirror::replicate {

// What the source has under a name, as it was read.
struct SourceEntry {
  model::Metadata metadata;
  model::ContentHash xattrs;          // hash::DigestOf
  model::ContentHash symlink_target;  // of a symlink
  std::optional<model::ContentHash> content;  // hash::SparseHasher; when it was asked for
};

// How the target's entry differs from the source's.
struct Comparison {
  bool kind = false;      // another type, device or symlink target: another node
  bool content = false;   // size, or what both were hashed to, or the mtime of a file that was not hashed
  bool metadata = false;  // owner, mode, times or xattrs
  std::string what;       // for people; empty: they do not differ
  bool any() const { return kind || content || metadata; }
};

// `target_content`: the target's hash, where the source's was asked for.
Comparison Compare(const SourceEntry& source, const wire::ListedEntry& target,
                   const std::optional<model::ContentHash>& target_content);

// "file", "directory", ...
std::string_view TypeName(model::NodeType type);

}  // namespace fanmirror::replicate
