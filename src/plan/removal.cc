#include "plan/entry_counter.h"
#include "plan/planner_state.h"

namespace fanmirror::plan {

using catalogue::Effect;
using model::FileId;
using model::Name;

Fate Planner::FateOf(const FileId& id) const {
  if (id.is_foreign()) return Fate::kGone;  // no node of the source
  const auto it = facts_.fates.find(id);
  return it == facts_.fates.end() ? Fate::kUnknown : it->second;
}

bool Planner::MayDelete(const Observation& observation) const {
  return observation.startup ? policy_.delete_at_startup : policy_.delete_while_running;
}

Planner::Loss Planner::JudgeLoss(const Name& name, const Observation& observation) {
  const auto id = now_.Child(name);
  if (!id) return Loss::kNothing;
  if (observation.excluded || !MayDelete(observation)) return Loss::kForget;
  if (!paths_.OfDirectory(name.dir)) return Loss::kForget;  // the target has no such place
  if (UnplacedWish(*id)) return Loss::kPostpone;
  if (!IsDirectory(*id) && now_.NamesOf(*id).size() > 1) return Loss::kRemoveName;
  if (wanted_.contains(*id)) return Loss::kPostpone;  // its new place was postponed
  return FateOf(*id) == Fate::kUnknown ? Loss::kSetAside : Loss::kRemoveTree;
}

void Planner::Vacate(const Name& name, const Observation& observation) {
  const Loss loss = JudgeLoss(name, observation);
  if (hold_ && (loss == Loss::kRemoveName || loss == Loss::kRemoveTree)) {
    model::Change held = NameChange(name);
    held.startup = observation.startup;
    plan_.held.push_back(std::move(held));
    return;
  }
  switch (loss) {
    case Loss::kNothing:
      break;
    case Loss::kForget:
      ForgetTree(name);
      break;
    case Loss::kPostpone:
      Postpone(name);
      break;
    case Loss::kSetAside:
      SetAside(name, *now_.Child(name), /*follow=*/true);
      break;
    case Loss::kRemoveName:
      EmitRemove(name, *now_.Child(name));
      break;
    case Loss::kRemoveTree:
      RemoveTree(name);
      break;
  }
}

bool Planner::DeletesTooMuch(const std::vector<Name>& names) {
  EntryCounter counter(&now_);
  for (const Name& name : names) {
    const Observation& observation = facts_.names.at(name);
    if (observation.node) continue;
    const Loss loss = JudgeLoss(name, observation);
    if (loss == Loss::kRemoveName || loss == Loss::kRemoveTree) counter.AddTree(name);
  }
  for (const Name& limbo : doomed_) counter.AddTree(limbo);
  return counter.count() > *policy_.deletes_allowed;
}

// True when the entry needs nothing more: it was removed or set aside. False: a directory whose entries come first.
bool Planner::RemoveLeafOrKeep(const Name& name, const FileId& id) {
  const bool directory = IsDirectory(id);
  const bool other_names = !directory && now_.NamesOf(id).size() > 1;
  const auto fate = facts_.fates.find(id);
  const bool lives = wanted_.contains(id) || (fate != facts_.fates.end() && fate->second == Fate::kUnknown);
  if (lives && !other_names) {
    SetAside(name, id, /*follow=*/true);
    return true;
  }
  if (directory) return false;
  EmitRemove(name, id);
  return true;
}

// Removes what lies at `name`, the entries of directories first: each remove names one node that we know.
void Planner::RemoveTree(const Name& name) {
  struct Level {
    Name name;
    FileId id;
    bool entered = false;
  };
  std::vector<Level> stack{{name, *now_.Child(name)}};
  while (!stack.empty()) {
    if (stack.back().entered) {
      EmitRemove(stack.back().name, stack.back().id);
      stack.pop_back();
      continue;
    }
    stack.back().entered = true;
    const FileId dir = stack.back().id;
    if (!IsDirectory(dir)) continue;
    std::vector<std::pair<std::string, FileId>> entries;
    now_.ForEachChild(dir, [&](const std::string& entry, const FileId& id) {
      entries.emplace_back(entry, id);
      return true;
    });
    for (const auto& [entry, id] : entries) {
      Name child{dir, entry};
      if (!RemoveLeafOrKeep(child, id)) stack.push_back({std::move(child), id});
    }
  }
}

// The target keeps what lies at `name`; we know nothing of it any more.
void Planner::ForgetTree(const Name& name) {
  std::vector<Name> order{name};
  for (std::size_t i = 0; i < order.size(); ++i) {
    const auto id = now_.Child(order[i]);
    if (!IsDirectory(*id)) continue;
    now_.ForEachChild(*id, [&](const std::string& entry, const FileId&) {
      order.push_back({*id, entry});
      return true;
    });
  }
  for (auto it = order.rbegin(); it != order.rend(); ++it) {
    Effect effect{.kind = Effect::Kind::kDropName, .id = {}, .name = *it, .to = {}, .record = {}};
    now_.Apply(round_, effect);
    plan_.forgotten.push_back(std::move(effect));
  }
  paths_.DirectoryMoved();
}

void Planner::SetAside(const Name& name, const FileId& id, bool follow) {
  const Name limbo = LimboName(id);
  if (now_.Child(limbo)) {
    EmitRemove(name, id);
    return;
  }
  EmitRename(name, limbo, id);
  if (follow) plan_.postponed.push_back(LimboChange(id));
}

void Planner::FindDoomed() {
  for (const FileId& id : facts_.limbo) {
    const Name limbo = LimboName(id);
    if (now_.Child(limbo) != id) continue;
    const bool placed = !IsDirectory(id) && wanted_.contains(id) && !UnplacedWish(id);
    // By the name of what is placed nothing is lost: it has another.
    if (!placed && (wanted_.contains(id) || FateOf(id) == Fate::kUnknown)) {
      plan_.postponed.push_back(LimboChange(id));
    } else {
      doomed_.push_back(limbo);
    }
  }
}

void Planner::EmptyLimbo() {
  for (const Name& limbo : doomed_) {
    const auto id = now_.Child(limbo);
    if (!id) continue;
    if (hold_) {
      plan_.held.push_back(LimboChange(*id));
    } else {
      RemoveTree(limbo);
    }
  }
}

}  // namespace fanmirror::plan
