#include "catalogue/expected.h"

#include <algorithm>

namespace fanmirror::catalogue {

void Expected::Apply(std::uint64_t batch, const Effect& effect) {
  switch (effect.kind) {
    case Effect::Kind::kSetNode:
      MutableNode(batch, effect.id).record = effect.record;
      return;
    case Effect::Kind::kSetName:
      PointName(batch, effect.name, effect.id);
      return;
    case Effect::Kind::kDropName:
      DetachName(batch, effect.name);
      return;
    case Effect::Kind::kMoveName:
      MoveName(batch, effect.name, effect.to);
      return;
  }
}

void Expected::PointName(std::uint64_t batch, const model::Name& name, const model::FileId& id) {
  const std::optional<model::FileId> before = Child(name);
  if (before != id) DetachName(batch, name);
  NodeState& node = MutableNode(batch, id);
  if (!node.record) {
    names_[name] = {batch, std::nullopt};
    return;
  }
  if (before != id) node.names.push_back(name);
  names_[name] = {batch, id};
}

void Expected::MoveName(std::uint64_t batch, const model::Name& from, const model::Name& to) {
  if (from == to) return;
  const std::optional<model::FileId> id = Child(from);
  DetachName(batch, to);
  if (id) PointName(batch, to, *id);  // before `from` goes: the node must not be nameless in between
  DetachName(batch, from);
}

void Expected::DetachName(std::uint64_t batch, const model::Name& name) {
  const std::optional<model::FileId> id = Child(name);
  names_[name] = {batch, std::nullopt};
  if (!id) return;
  NodeState& node = MutableNode(batch, *id);
  std::erase(node.names, name);
  if (node.names.empty()) node.record.reset();
}

Expected::NodeState& Expected::MutableNode(std::uint64_t batch, const model::FileId& id) {
  const auto [it, added] = nodes_.try_emplace(id);
  NodeState& node = it->second;
  node.batch = batch;
  if (added) {
    node.record = base_->Node(id);
    node.names = base_->NamesOf(id);
  }
  return node;
}

void Expected::Retire(std::uint64_t batch) {
  absl::erase_if(nodes_, [batch](const auto& node) { return node.second.batch <= batch; });
  std::erase_if(names_, [batch](const auto& name) { return name.second.batch <= batch; });
}

void Expected::Clear() {
  nodes_.clear();
  names_.clear();
}

std::optional<Record> Expected::Node(const model::FileId& id) const {
  const auto it = nodes_.find(id);
  return it != nodes_.end() ? it->second.record : base_->Node(id);
}

std::optional<model::FileId> Expected::Child(const model::Name& name) const {
  const auto it = names_.find(name);
  return it != names_.end() ? it->second.id : base_->Child(name);
}

std::vector<model::Name> Expected::NamesOf(const model::FileId& id) const {
  const auto it = nodes_.find(id);
  return it != nodes_.end() ? it->second.names : base_->NamesOf(id);
}

void Expected::ForEachChild(
    const model::FileId& dir,
    absl::FunctionRef<bool(const std::string& name, const model::FileId& id)> visit) const {
  auto changed = names_.lower_bound({dir, ""});
  const auto in_dir = [&] { return changed != names_.end() && changed->first.dir == dir; };
  bool go_on = true;
  const auto visit_changed = [&] {
    if (changed->second.id) go_on = visit(changed->first.name, *changed->second.id);
    ++changed;
  };
  base_->ForEachChild(dir, [&](const std::string& name, const model::FileId& id) {
    while (go_on && in_dir() && changed->first.name < name) visit_changed();
    if (!go_on) return false;
    if (in_dir() && changed->first.name == name) {
      visit_changed();
    } else {
      go_on = visit(name, id);
    }
    return go_on;
  });
  while (go_on && in_dir()) visit_changed();
}

void Expected::ForEachChangedNode(absl::FunctionRef<void(const model::FileId&, const std::optional<Record>&,
                                                         const std::vector<model::Name>&)>
                                      visit) const {
  for (const auto& [id, node] : nodes_) visit(id, node.record, node.names);
}

void Expected::ForEachChangedName(
    absl::FunctionRef<void(const model::Name&, const std::optional<model::FileId>&)> visit) const {
  for (const auto& [name, state] : names_) visit(name, state.id);
}

}  // namespace fanmirror::catalogue
