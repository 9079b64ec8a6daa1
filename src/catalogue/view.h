#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "model/metadata.h"
#include "model/name.h"

namespace fanmirror::catalogue {

// What the target is known to hold of one node.
struct Record {
  model::Metadata metadata;  // of the source, as it was read when it was last sent
  model::ContentHash content;
  bool content_known = false;  // `content` is what the target has (else: only size and mtime are known)
  bool racy = false;  // the ctime was so close to the reading that a later change may have the same: look again on scan
  friend bool operator==(const Record&, const Record&) = default;
};

// One step of change of the catalogue.
struct Effect {
  enum class Kind : std::uint8_t {
    kSetNode = 1,   // record of `id` := `record`; keeps its names
    kSetName = 2,   // `name` means `id` (whose record exists); the node that it meant before loses it
    kDropName = 3,  // `name` means nothing
    kMoveName = 4   // `name` stops, `to` starts to mean the node; what `to` meant before loses it
  };
  Kind kind;
  model::FileId id;
  model::Name name;
  model::Name to;
  Record record;
};
// A node that loses its last name is forgotten, record and all (a directory's children must have gone before). The
// root is the exception: its record stands without a name. A name that is to mean a node without a record (which no
// planner should ask for), or what a name without meaning meant, means nothing afterwards. A kMoveName onto itself
// changes nothing; `id` plays no part in kDropName and kMoveName.

// Names and nodes that a target holds, for reading. Not thread-safe. Errors of the store are remembered by the
// implementation (Catalogue::health) and read as absent; whoever acts on absence checks health before.
class View {
 public:
  virtual ~View() = default;
  virtual std::optional<Record> Node(const model::FileId& id) const = 0;
  virtual std::optional<model::FileId> Child(const model::Name& name) const = 0;
  // All names of a node, in no order. Empty for the root and for the unknown.
  virtual std::vector<model::Name> NamesOf(const model::FileId& id) const = 0;
  // The entries of a directory in byte order, until `visit` returns false. The view must not change meanwhile.
  virtual void ForEachChild(const model::FileId& dir,
                            absl::FunctionRef<bool(const std::string& name, const model::FileId& id)> visit) const = 0;
};

}  // namespace fanmirror::catalogue
