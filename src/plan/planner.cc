#include "plan/planner.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "plan/planner_state.h"

namespace fanmirror::plan {

using catalogue::Effect;
using model::Change;
using model::FileId;
using model::Name;
using model::NodeType;
using model::Op;

catalogue::Effect SetNodeEffect(const FileId& id, const model::Metadata& metadata) {
  Effect effect{.kind = Effect::Kind::kSetNode, .id = id, .name = {}, .to = {}, .record = {}};
  effect.record.metadata = metadata;
  return effect;
}

Change NameChange(const Name& name) {
  return {.kind = Change::Kind::kName, .id = name.dir, .name = name.name, .content = true, .startup = false};
}

Change NodeChange(const FileId& id) {
  return {.kind = Change::Kind::kNode, .id = id, .name = "", .content = true, .startup = false};
}

Change TreeChange(const FileId& id) {
  return {.kind = Change::Kind::kTree, .id = id, .name = "", .content = false, .startup = false};
}

Change LimboChange(const FileId& id) {
  return {.kind = Change::Kind::kLimbo, .id = id, .name = "", .content = false, .startup = false};
}

Name LimboName(const FileId& id) {
  return {FileId::Limbo(), absl::BytesToHexString(id.Encode())};
}

Planner::Planner(const Facts& facts, const Policy& policy, std::uint64_t round, catalogue::Expected* expected)
    : facts_(facts), policy_(policy), round_(round), now_(*expected), paths_(expected, policy.root) {}

Plan Planner::Run() {
  std::vector<Name> names;
  names.reserve(facts_.names.size());
  for (const auto& [name, observation] : facts_.names) names.push_back(name);
  std::sort(names.begin(), names.end());  // the same facts give the same plan

  IndexWanted();
  for (const Name& name : names) {
    if (facts_.names.at(name).node) Place(name);
  }
  FindDoomed();
  hold_ = policy_.deletes_allowed && DeletesTooMuch(names);
  deleting_ = true;
  for (const Name& name : names) {
    if (!facts_.names.at(name).node) Vacate(name, facts_.names.at(name));
  }
  EmptyLimbo();
  deleting_ = false;
  for (const Name& name : names) {
    const auto& node = facts_.names.at(name).node;
    if (node && !facts_.nodes.contains(node->id) && wanted_.at(node->id).front() == name) {
      Renew(node->id, node->metadata);
    }
  }
  std::vector<FileId> nodes;
  for (const auto& [id, node] : facts_.nodes) nodes.push_back(id);
  std::sort(nodes.begin(), nodes.end());
  for (const FileId& id : nodes) Renew(id, facts_.nodes.at(id).metadata);
  RenewDirectories();
  return std::move(plan_);
}

void Planner::Emit(Op op, std::vector<Effect> effects, std::uint64_t bytes) {
  bool directories_moved = false;
  for (const Effect& effect : effects) {
    now_.Apply(round_, effect);
    directories_moved |= effect.kind == Effect::Kind::kMoveName || effect.kind == Effect::Kind::kDropName;
  }
  if (directories_moved && op.type == NodeType::kDirectory) paths_.DirectoryMoved();
  const bool deletes = deleting_ && op.kind == Op::Kind::kRemove;
  plan_.steps.push_back({std::move(op), std::move(effects), bytes, deletes});
}

void Planner::EmitRename(const Name& from, const Name& to, const FileId& id) {
  Op op;
  op.kind = Op::Kind::kRename;
  op.node = id;
  op.type = now_.Node(id)->metadata.type;
  op.from = *paths_.OfName(from);
  op.path = *paths_.OfName(to);
  op.concerns = {from.dir.is_limbo() ? LimboChange(id) : NameChange(from),
                 to.dir.is_limbo() ? NodeChange(id) : NameChange(to)};
  Touch(from.dir);
  Touch(to.dir);
  if (to.dir.is_limbo()) {
    aside_.insert(id);
  } else if (from.dir.is_limbo() && !aside_.contains(id)) {
    returned_.insert(id);
  }
  Emit(std::move(op), {{.kind = Effect::Kind::kMoveName, .id = id, .name = from, .to = to, .record = {}}});
}

void Planner::EmitRemove(const Name& name, const FileId& id) {
  Op op;
  op.kind = Op::Kind::kRemove;
  op.node = id;
  op.type = now_.Node(id)->metadata.type;
  op.path = *paths_.OfName(name);
  op.concerns = {name.dir.is_limbo() ? LimboChange(id) : NameChange(name)};
  Touch(name.dir);
  Emit(std::move(op), {{.kind = Effect::Kind::kDropName, .id = id, .name = name, .to = {}, .record = {}}});
}

void Planner::Postpone(const Name& name) {
  plan_.postponed.push_back(NameChange(name));
  progress_[name] = Progress::kFinished;
}

bool Planner::IsDirectory(const FileId& id) const {
  const auto record = now_.Node(id);
  return record && record->metadata.type == NodeType::kDirectory;
}

Plan MakePlan(const Facts& facts, const Policy& policy, std::uint64_t round, catalogue::Expected* expected) {
  return Planner(facts, policy, round, expected).Run();
}

}  // namespace fanmirror::plan
