#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "catalogue/view.h"
#include "model/change.h"
#include "os/tree.h"
#include "plan/facts.h"
#include "plan/paths.h"
#include "scan/walk.h"

namespace fanmirror::replicate {

// Looks at the source where changes say, and at all else that a plan must know to be right (see plan::Facts). One
// round's facts; used by the planning thread.
class Looker {
 public:
  // All outlive the looker. `expected` must not change while it is used.
  Looker(const os::Tree* tree, const scan::Selection* selection, const catalogue::View* expected);

  // `limbo_is_over`: no older change is pending and no walk under way, so a node in limbo that is not found has no place.
  void Add(const model::Change& change, bool limbo_is_over);
  // What a walk found. True when it differs from what the target is expected to have. `stale`: names were looked at since, so
  // that what is expected may be newer; then it is looked at again.
  bool AddFound(const scan::Found& found, bool startup, bool stale);
  // A walk gave all entries of `dir`; those of the target that are not among them (`seen`: HashName) are looked at.
  void AddListed(const model::FileId& dir, const absl::flat_hash_set<std::uint64_t>& seen, bool startup);
  // A walk of `top` could not list the directory at `path`: nothing is concluded of what is below.
  void AddUnreadable(const model::FileId& top, const std::string& path, const absl::Status& status);
  // Looks at the rest, until the facts are closed.
  void Close();

  struct Failed {
    model::Change change;
    absl::Status status;
  };
  plan::Facts& facts() { return facts_; }
  const std::vector<model::FileId>& new_trees() const { return new_trees_; }  // directories that must be walked
  const std::vector<Failed>& failed() const { return failed_; }         // could not be looked at: nothing is concluded
  std::uint64_t bytes() const { return bytes_; }                        // of regular files that may have to be sent
  bool looked() const { return looked_; }  // at any name, not counting what walks found
  std::size_t names() const { return facts_.names.size() + facts_.nodes.size(); }

 private:
  void LookAtName(const model::Name& name, bool startup);
  void TakeFound(const scan::Found& found, bool startup, bool stale);
  void LookAtDirectoryOf(const model::Name& name);
  absl::StatusOr<bool> MakeDirectoryKnown(const model::FileId& dir, bool startup);
  bool IsInLimbo(const model::FileId& dir) const;
  bool OtherwiseSelectedBelow(const model::FileId& dir, const std::string& path);
  void Observe(const model::Name& name, const plan::Observation& observation, const std::string& path);
  void Enqueue(const model::Name& name, bool startup);
  void EnqueueOtherNames(const model::FileId& id, const model::Name& name, bool startup);
  void DetermineFate(const model::FileId& id);
  void DetermineFateOfLiving(const model::FileId& id);
  void FateFailed(const model::FileId& id, const absl::Status& status);
  void LookAtNode(const model::Change& change);
  void LookAtLimbo(const model::FileId& id, bool limbo_is_over);
  absl::StatusOr<std::optional<std::string>> SourcePath(const model::FileId& dir);
  bool Belongs(const os::Tree::Place& place) const;
  absl::StatusOr<bool> HasPlace(const model::FileId& id);
  bool IsObserved(const model::FileId& id) const { return observed_.contains(id); }

  const os::Tree* tree_;
  const scan::Selection* selection_;
  const catalogue::View* expected_;
  plan::Paths paths_;
  plan::Facts facts_;
  std::deque<std::pair<model::Name, bool>> queue_;  // names to look at, and whether a scan of a start asks
  std::deque<model::FileId> displaced_;             // nodes whose fate may have to be told
  absl::flat_hash_set<model::FileId> observed_;     // nodes that some observed name means
  absl::flat_hash_set<model::FileId> forced_;       // limbo nodes whose time is over
  // Source paths of directories, as found in this round; nullopt: nothing there belongs to the job.
  absl::flat_hash_map<model::FileId, std::optional<std::string>> located_;
  std::vector<model::FileId> new_trees_;
  std::vector<Failed> failed_;
  std::uint64_t bytes_ = 0;
  bool looked_ = false;
};

}  // namespace fanmirror::replicate
