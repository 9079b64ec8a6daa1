#include "replicate/looker.h"

#include <algorithm>

#include "model/failure.h"
#include "model/path.h"
#include "plan/compare.h"
#include "plan/planner.h"
#include "replicate/name_hash.h"

namespace fanmirror::replicate {

using model::Change;
using model::FileId;
using model::Name;
using model::NodeType;
using plan::Fate;
using plan::NameChange;
using plan::Observation;

Looker::Looker(const os::Tree* tree, const scan::Selection* selection, const catalogue::View* expected)
    : tree_(tree), selection_(selection), expected_(expected), paths_(expected, tree->root()) {}

void Looker::Add(const Change& change, bool limbo_is_over) {
  switch (change.kind) {
    case Change::Kind::kName: {
      const Name name{change.id, change.name};
      LookAtName(name, change.startup);
      LookAtDirectoryOf(name);
      if (!change.content) break;
      const auto it = facts_.names.find(name);
      if (it != facts_.names.end() && it->second.node) facts_.content.insert(it->second.node->id);
      break;
    }
    case Change::Kind::kNode:
      LookAtNode(change);
      break;
    case Change::Kind::kLimbo:
      LookAtLimbo(change.id, limbo_is_over);
      break;
    case Change::Kind::kTree:
      break;  // walks are not looks
  }
}

void Looker::LookAtNode(const Change& change) {
  // A node that the target is not expected to have needs no look: the change of the name that brings it is pending, or it
  // does not belong to the job.
  if (!expected_->Node(change.id)) return;
  auto node = tree_->LookNode(change.id);
  if (!node.ok()) {
    failed_.push_back({change, node.status()});
    return;
  }
  if (!*node) return;  // its names tell
  const auto placed = HasPlace(change.id);
  if (!placed.ok()) {
    failed_.push_back({change, placed.status()});
    return;
  }
  if (change.content) facts_.content.insert(change.id);
  if (!*placed) {
    for (const Name& name : expected_->NamesOf(change.id)) Enqueue(name, change.startup);
    return;
  }
  bytes_ += (*node)->metadata.type == NodeType::kRegular ? (*node)->metadata.size : 0;
  facts_.nodes[change.id] = **node;
}

void Looker::LookAtLimbo(const FileId& id, bool limbo_is_over) {
  if (expected_->Child(plan::LimboName(id)) != id) return;
  facts_.limbo.insert(id);
  if (limbo_is_over) forced_.insert(id);
  displaced_.push_back(id);
}

// Where a directory lies in the source, whatever is believed; nullopt: nothing in it belongs to the job.
absl::StatusOr<std::optional<std::string>> Looker::SourcePath(const FileId& dir) {
  if (dir == tree_->root()) return "";
  if (const auto it = located_.find(dir); it != located_.end()) return it->second;
  const auto place = tree_->Locate(dir);
  if (!place.ok()) return place.status();
  if (place->kind == os::Tree::Place::Kind::kUnknown) {
    return model::Failure(model::Reaction::kLookAgain, "a directory of the source moves too often to be found");
  }
  return located_[dir] = Belongs(*place) ? std::optional(place->path) : std::nullopt;
}

// A directory at this place, to the job.
bool Looker::Belongs(const os::Tree::Place& place) const {
  return place.kind == os::Tree::Place::Kind::kInside && !selection_->ExcludesWithParents(place.path, /*is_directory=*/true);
}

// Whether a node has a name on the target that leads to where things belong to the job, as far as directories tell.
absl::StatusOr<bool> Looker::HasPlace(const FileId& id) {
  if (id == tree_->root()) return true;
  const auto record = expected_->Node(id);
  if (record && record->metadata.type == NodeType::kDirectory && !IsInLimbo(id)) {
    const auto path = SourcePath(id);
    if (!path.ok()) return path.status();
    return path->has_value();
  }
  for (const Name& name : expected_->NamesOf(id)) {
    if (name.dir.is_limbo()) return true;  // looked at as such
    if (name.dir.is_foreign()) continue;
    const auto dir = SourcePath(name.dir);
    if (!dir.ok()) return dir.status();
    if (*dir) return true;
  }
  return false;
}

// Whether the target has the directory or will get it by this round.
absl::StatusOr<bool> Looker::MakeDirectoryKnown(const FileId& dir, bool startup) {
  if (dir == tree_->root() || expected_->Node(dir) || IsObserved(dir)) return true;
  const auto place = tree_->Locate(dir);
  if (!place.ok()) return place.status();
  if (!Belongs(*place)) return false;
  located_[dir] = place->path;
  LookAtName(place->name, startup);
  return IsObserved(dir);
}

void Looker::LookAtName(const Name& name, bool startup) {
  if (name.dir.is_limbo() || name.dir.is_foreign() || facts_.names.contains(name)) return;
  const auto fail = [&](const absl::Status& status) { failed_.push_back({NameChange(name), status}); };
  // A directory that neither is on the target nor comes there: it is outside, gone, or found whole by its own change.
  const auto known = MakeDirectoryKnown(name.dir, startup);
  if (!known.ok()) return fail(known.status());
  if (!*known) return;
  looked_ = true;
  auto node = tree_->Look(name);
  if (!node.ok()) return fail(node.status());
  const auto place = SourcePath(name.dir);
  if (!place.ok()) return fail(place.status());
  const std::optional<std::string>& dir_path = *place;
  // What goes with its directory goes at once: else each of its entries would be tried in vain until that one's turn comes.
  if (!dir_path) {
    for (const Name& of_dir : expected_->NamesOf(name.dir)) Enqueue(of_dir, startup);
  }
  Observation observation{.node = *node, .startup = startup, .excluded = false};
  const std::string path = dir_path ? model::JoinPath(*dir_path, name.name) : std::string();
  if (observation.node) {
    const bool directory = observation.node->metadata.type == NodeType::kDirectory;
    // A directory without a path below the source was moved out: nothing in it belongs to the job.
    if (!dir_path || selection_->Excludes(path, directory)) {
      const auto child = expected_->Child(name);
      if (!child) return;
      observation.excluded = startup && dir_path && *child == observation.node->id;
      observation.node.reset();
    }
  }
  Observe(name, observation, path);
}

bool Looker::AddFound(const scan::Found& found, bool startup, bool stale) {
  const FileId& id = found.node.id;
  if (facts_.names.contains(found.name)) return true;
  const auto record = expected_->Node(id);
  const bool suspect = record && plan::IsSuspect(*record, found.node.metadata);
  if (record && expected_->Child(found.name) == id &&
      plan::Compare(*record, found.node.metadata, {.written = false, .suspect = suspect}) == plan::Difference::kNone) {
    return false;
  }
  if (!(found.name.dir == tree_->root() || expected_->Node(found.name.dir) || IsObserved(found.name.dir))) {
    return true;  // its directory did not come to the target: that one's own change will find this again
  }
  if (suspect) facts_.suspect.insert(id);
  TakeFound(found, startup, stale);
  return true;
}

void Looker::TakeFound(const scan::Found& found, bool startup, bool stale) {
  const std::size_t trees = new_trees_.size();
  if (stale) {
    LookAtName(found.name, startup);
    const auto now = facts_.names.find(found.name);
    if (now == facts_.names.end() || !now->second.node || now->second.node->id != found.node.id) return;
  } else {
    if (found.node.metadata.type == NodeType::kDirectory) located_[found.node.id] = found.path;
    Observe(found.name, {.node = found.node, .startup = startup, .excluded = false}, found.path);
  }
  // The walk that found it goes on below it.
  new_trees_.resize(std::min(new_trees_.size(), trees));
}

void Looker::AddListed(const FileId& dir, const absl::flat_hash_set<std::uint64_t>& seen, bool startup) {
  expected_->ForEachChild(dir, [&](const std::string& name, const FileId&) {
    if (!seen.contains(HashName(name))) Enqueue({dir, name}, startup);
    return true;
  });
}

void Looker::AddUnreadable(const FileId& top, const std::string& path, const absl::Status& status) {
  Change again{.kind = Change::Kind::kTree, .id = top, .name = "", .content = false, .startup = false};
  failed_.push_back({std::move(again), model::Failure(model::ReactionOf(status), "cannot list " +
                     model::QuotePath(path) + ": " + std::string(status.message()))});
}

void Looker::Enqueue(const Name& name, bool startup) {
  if (!name.dir.is_limbo() && !facts_.names.contains(name)) queue_.emplace_back(name, startup);
}

void Looker::EnqueueOtherNames(const FileId& id, const Name& name, bool startup) {
  for (const Name& other : expected_->NamesOf(id)) {
    if (other != name) Enqueue(other, startup);
  }
}

// Then it may have been about to be removed, and have lost some of what was in it.
bool Looker::IsInLimbo(const FileId& dir) const {
  return expected_->Child(plan::LimboName(dir)) == dir;
}

// Whether other things may be excluded below a directory when it lies at `path` than where the target has it.
bool Looker::OtherwiseSelectedBelow(const FileId& dir, const std::string& path) {
  const select::Filter& filter = selection_->filter;
  if (filter.empty()) return false;
  const auto had = paths_.OfDirectory(dir);
  return !had || filter.DependsOnPlace(*had) || filter.DependsOnPlace(path);
}

void Looker::Observe(const Name& name, const Observation& observation, const std::string& path) {
  const bool startup = observation.startup;
  const auto child = expected_->Child(name);
  if (observation.node) {
    const model::Node& node = *observation.node;
    observed_.insert(node.id);
    const bool known = expected_->Node(node.id).has_value();
    if (node.metadata.type == NodeType::kRegular) bytes_ += node.metadata.size;
    if (known) EnqueueOtherNames(node.id, name, startup);
    if (node.metadata.type == NodeType::kDirectory) {
      const bool moved = known && child != node.id;
      if (!known || (moved && (IsInLimbo(node.id) || OtherwiseSelectedBelow(node.id, path)))) new_trees_.push_back(node.id);
      located_[node.id] = path;
    }
  }
  if (child && (!observation.node || *child != observation.node->id)) {
    EnqueueOtherNames(*child, name, startup);
    displaced_.push_back(*child);
  }
  facts_.names[name] = observation;
}

// A name that came and went leaves its trace in the mtime of its directory.
void Looker::LookAtDirectoryOf(const Name& name) {
  const FileId& dir = name.dir;
  if (facts_.nodes.contains(dir) || IsObserved(dir) || !expected_->Node(dir)) return;
  const auto node = tree_->LookNode(dir);
  if (const auto path = SourcePath(dir); path.ok() && !*path) return;  // its name is looked at
  if (!node.ok()) {
    // When the name itself failed it will be looked at again, and its directory with it.
    if (failed_.empty() || failed_.back().change != NameChange(name)) failed_.push_back({plan::NodeChange(dir), node.status()});
    return;
  }
  if (*node) facts_.nodes[dir] = **node;
}

void Looker::Close() {
  while (!queue_.empty() || !displaced_.empty()) {
    while (!queue_.empty()) {
      const auto [name, startup] = queue_.front();
      queue_.pop_front();
      LookAtName(name, startup);
    }
    if (!displaced_.empty()) {
      const FileId id = displaced_.front();
      displaced_.pop_front();
      DetermineFate(id);
    }
  }
}

void Looker::DetermineFate(const FileId& id) {
  if (id.is_foreign() || IsObserved(id) || facts_.fates.contains(id)) return;
  const auto node = tree_->LookNode(id);
  if (!node.ok()) {
    FateFailed(id, node.status());
    return;
  }
  if (*node) {
    DetermineFateOfLiving(id);
    return;
  }
  facts_.fates[id] = Fate::kGone;
  const auto record = expected_->Node(id);
  if (!record || record->metadata.type != NodeType::kDirectory) return;
  expected_->ForEachChild(id, [&](const std::string&, const FileId& child) {
    displaced_.push_back(child);
    return true;
  });
}

void Looker::DetermineFateOfLiving(const FileId& id) {
  const auto place = tree_->Locate(id);
  if (!place.ok()) {
    FateFailed(id, place.status());
    return;
  }
  switch (place->kind) {
    case os::Tree::Place::Kind::kGone:
      facts_.fates[id] = Fate::kGone;
      return;
    case os::Tree::Place::Kind::kOutside:
      facts_.fates[id] = Fate::kOutside;
      return;
    case os::Tree::Place::Kind::kUnknown:
      facts_.fates[id] = forced_.contains(id) ? Fate::kOutside : Fate::kUnknown;
      return;
    case os::Tree::Place::Kind::kInside:
      break;
  }
  const auto record = expected_->Node(id);
  const bool directory = record && record->metadata.type == NodeType::kDirectory;
  if (selection_->ExcludesWithParents(place->path, directory)) {
    facts_.fates[id] = Fate::kOutside;
    return;
  }
  LookAtName(place->name, /*startup=*/false);
  if (!IsObserved(id)) facts_.fates[id] = Fate::kUnknown;
}

// Nothing may be concluded of a node that cannot be looked at: the names that it lost stay as they are for now.
void Looker::FateFailed(const FileId& id, const absl::Status& status) {
  facts_.limbo.erase(id);
  for (const Name& name : expected_->NamesOf(id)) {
    failed_.push_back({name.dir.is_limbo() ? plan::LimboChange(id) : NameChange(name), status});
    facts_.names.erase(name);
  }
}

}  // namespace fanmirror::replicate
