#pragma once

#include <optional>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "model/change.h"
#include "model/metadata.h"
#include "model/name.h"

namespace fanmirror::plan {

// What became of a node that is no longer where the target has it.
enum class Fate {
  kGone,     // it exists no more
  kOutside,  // it exists, but no longer in the job: moved out of the source, or to an excluded place
  kUnknown   // it exists, and where its names are now is not known (yet)
};

// What a name of the source means now.
struct Observation {
  std::optional<model::Node> node;  // nullopt: the directory was read and has no such entry (that belongs to the job)
  bool startup = false;   // seen by the scan of a start (for the delete policy)
  bool excluded = false;  // node is nullopt, because the entry is there but excluded now, the very node the target has
};

// What one round of looking at the source found. Closed under two rules, which the looker keeps:
// - a node that a name means and that the target knows has all its names (of the target) observed, too;
// - a node that loses a name and is not observed under any name has its fate told, and if it is a directory that is
//   gone, so have all nodes that the target has below it, unless they are observed.
struct Facts {
  absl::flat_hash_map<model::Name, Observation> names;
  absl::flat_hash_map<model::FileId, model::Node> nodes;  // looked at by id: content or metadata may differ
  absl::flat_hash_map<model::FileId, Fate> fates;
  absl::flat_hash_set<model::FileId> content;  // written to: the content may differ though size and times are equal
  absl::flat_hash_set<model::FileId> suspect;  // a scan found another ctime, or a racily clean record
  absl::flat_hash_set<model::FileId> limbo;    // nodes in limbo whose time is over: they go unless observed
};

}  // namespace fanmirror::plan
