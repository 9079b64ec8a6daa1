#include <algorithm>

#include "plan/planner_state.h"

namespace fanmirror::plan {

using catalogue::Effect;
using model::FileId;
using model::Name;
using model::Node;
using model::NodeType;
using model::Op;

void Planner::IndexWanted() {
  std::vector<Name> names;
  for (const auto& [name, observation] : facts_.names) {
    if (observation.node) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  for (const Name& name : names) {
    const Node& node = *facts_.names.at(name).node;
    auto& wishes = wanted_[node.id];
    // A directory has one name: two were seen because it moved between the looks, and the event of that is on its way.
    if (node.metadata.type == NodeType::kDirectory && !wishes.empty()) {
      Postpone(name);
    } else {
      wishes.push_back(name);
    }
  }
}

Planner::Placing Planner::Place(const Name& name) {
  if (const auto it = progress_.find(name); it != progress_.end()) {
    return it->second == Progress::kFinished ? Placing::kDone : Placing::kBlocked;
  }
  const Node& node = *facts_.names.at(name).node;
  if (now_.Child(name) == node.id) {
    progress_[name] = Progress::kFinished;
    return Placing::kDone;
  }
  progress_[name] = Progress::kActive;
  ForgetUnreachable(node);
  const bool blocked = PlaceParent(name.dir) == Placing::kBlocked ||
                       (node.metadata.type == NodeType::kDirectory && now_.Node(node.id) &&
                        paths_.IsWithin(name.dir, node.id));
  if (blocked) {
    progress_.erase(name);
    return Placing::kBlocked;
  }
  const bool known_directory = node.metadata.type == NodeType::kDirectory && !now_.NamesOf(node.id).empty();
  if (!paths_.OfDirectory(name.dir) || (known_directory && !LosingName(node.id))) {
    Postpone(name);
    return Placing::kDone;
  }
  switch (ClearPlace(name, node)) {
    case Clearing::kFree:
      Attach(name, node);
      break;
    case Clearing::kExchanged:
    case Clearing::kImpossible:
      break;
  }
  progress_[name] = Progress::kFinished;
  return Placing::kDone;
}

// A node that is known under names which lead nowhere is not on the target: it is made anew, with all below it.
void Planner::ForgetUnreachable(const Node& node) {
  const std::vector<Name> names = now_.NamesOf(node.id);
  if (names.empty()) return;
  for (const Name& name : names) {
    if (paths_.OfDirectory(name.dir)) return;
  }
  for (const Name& name : names) ForgetTree(name);
  if (node.metadata.type == NodeType::kDirectory) plan_.postponed.push_back(TreeChange(node.id));
}

Planner::Placing Planner::PlaceParent(const FileId& dir) {
  const auto wish = UnplacedWish(dir);
  if (!wish || Place(*wish) == Placing::kDone) return Placing::kDone;
  // Its own placing waits for us further up. Where it is now will do, if it is anywhere.
  return paths_.OfDirectory(dir) ? Placing::kDone : Placing::kBlocked;
}

std::optional<Name> Planner::UnplacedWish(const FileId& id) const {
  const auto it = wanted_.find(id);
  if (it == wanted_.end()) return std::nullopt;
  for (const Name& name : it->second) {
    const auto progress = progress_.find(name);
    if (progress != progress_.end() && progress->second == Progress::kFinished) continue;
    if (now_.Child(name) != id) return name;
  }
  return std::nullopt;
}

std::optional<Name> Planner::LosingName(const FileId& id) const {
  std::vector<Name> names = now_.NamesOf(id);
  std::sort(names.begin(), names.end());
  for (const Name& name : names) {
    if (name.dir.is_limbo()) return name;
    const auto it = facts_.names.find(name);
    if (it != facts_.names.end() && (!it->second.node || it->second.node->id != id)) return name;
  }
  return std::nullopt;
}

Planner::Clearing Planner::ClearPlace(const Name& name, const Node& wanted) {
  auto occupant = now_.Child(name);
  if (!occupant) return Clearing::kFree;
  if (const auto wish = UnplacedWish(*occupant)) {
    if (TryExchange(name, *wish, wanted)) return Clearing::kExchanged;
    Place(*wish);
    occupant = now_.Child(name);
    if (!occupant) return Clearing::kFree;
  }
  return MoveOccupant(name, *occupant, wanted);
}

Planner::Clearing Planner::MoveOccupant(const Name& name, const FileId& occupant, const Node& wanted) {
  const bool occupant_is_directory = IsDirectory(occupant);
  const bool wanted_is_directory = wanted.metadata.type == NodeType::kDirectory;
  const bool replaceable = !occupant_is_directory && !wanted_is_directory;
  const bool has_other_names = now_.NamesOf(occupant).size() > 1;
  if (has_other_names && !occupant_is_directory) {
    if (!replaceable) EmitRemove(name, occupant);
    return Clearing::kFree;
  }
  if (wanted_.contains(occupant)) {
    SetAside(name, occupant, /*follow=*/true);
    return Clearing::kFree;
  }
  if (FateOf(occupant) == Fate::kUnknown) {
    SetAside(name, occupant, /*follow=*/true);
    return Clearing::kFree;
  }
  if (replaceable) return Clearing::kFree;
  if (!occupant_is_directory) {
    EmitRemove(name, occupant);
    return Clearing::kFree;
  }
  if (!MayDelete(facts_.names.at(name))) {
    plan_.refused.push_back({NameChange(name),
                             "a directory on the target is in the way, and `delete` forbids to remove it: remove it "
                             "there, or set delete = true"});
    return Clearing::kImpossible;
  }
  SetAside(name, occupant, /*follow=*/false);
  doomed_.push_back(LimboName(occupant));
  return Clearing::kFree;
}

bool Planner::TryExchange(const Name& name, const Name& other, const Node& wanted) {
  const auto occupant = now_.Child(name);
  if (now_.Child(other) != wanted.id || progress_.contains(other)) return false;
  const auto& other_wish = facts_.names.at(other).node;
  if (!other_wish || other_wish->id != *occupant) return false;
  const bool directories = IsDirectory(*occupant) || IsDirectory(wanted.id);
  // Within one directory neither can lie below the other.
  if (directories && name.dir != other.dir) return false;
  if (PlaceParent(other.dir) == Placing::kBlocked || !paths_.OfDirectory(other.dir)) return false;
  if (now_.Child(name) != occupant || now_.Child(other) != wanted.id) return false;  // placing the parent moved them
  RenewBeforeMove(wanted);
  RenewBeforeMove(*other_wish);

  Op op;
  op.kind = Op::Kind::kExchange;
  op.node = wanted.id;
  op.type = directories ? NodeType::kDirectory : wanted.metadata.type;
  op.from = *paths_.OfName(other);
  op.path = *paths_.OfName(name);
  op.concerns = {NameChange(name), NameChange(other)};
  Touch(name.dir);
  Touch(other.dir);
  const Name aside{FileId::Limbo(), "exchange"};
  const auto move = [](const Name& from, const Name& to) {
    return Effect{.kind = Effect::Kind::kMoveName, .id = {}, .name = from, .to = to, .record = {}};
  };
  Emit(std::move(op), {move(name, aside), move(other, name), move(aside, other)});
  progress_[other] = Progress::kFinished;
  return true;
}

void Planner::Attach(const Name& name, const Node& node) {
  // Known without a name: it failed to be made, though something of it is there. Where that is a directory, the target refuses
  // to make it again, and is listed.
  if (now_.NamesOf(node.id).empty()) {
    Create(name, node);
    return;
  }
  if (const auto from = LosingName(node.id)) {
    RenewBeforeMove(node);
    EmitRename(*from, name, node.id);
    return;
  }
  std::optional<std::string> from;
  for (const Name& other : now_.NamesOf(node.id)) {
    if ((from = paths_.OfName(other))) break;
  }
  if (!from) {
    Postpone(name);
    return;
  }
  Op op;
  op.kind = Op::Kind::kLink;
  op.node = node.id;
  op.type = node.metadata.type;
  op.from = *from;
  op.path = *paths_.OfName(name);
  op.concerns = {NameChange(name), NodeChange(node.id)};
  Touch(name.dir);
  Emit(std::move(op), {{.kind = Effect::Kind::kSetName, .id = node.id, .name = name, .to = {}, .record = {}}});
}

void Planner::Create(const Name& name, const Node& node) {
  const bool regular = node.metadata.type == NodeType::kRegular;
  Op op;
  op.kind = regular ? Op::Kind::kPut : Op::Kind::kMake;
  op.node = node.id;
  op.type = node.metadata.type;
  op.path = *paths_.OfName(name);
  op.names = {name};
  op.concerns = {NameChange(name)};
  Touch(name.dir);
  fresh_.insert(node.id);
  Emit(std::move(op),
       {SetNodeEffect(node.id, node.metadata),
        {.kind = Effect::Kind::kSetName, .id = node.id, .name = name, .to = {}, .record = {}}},
       regular ? node.metadata.size : 0);
}

}  // namespace fanmirror::plan
