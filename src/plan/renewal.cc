#include <algorithm>

#include "plan/compare.h"
#include "plan/planner_state.h"

namespace fanmirror::plan {

using model::FileId;
using model::Metadata;
using model::Name;
using model::NodeType;
using model::Op;

std::optional<Difference> Planner::DifferenceOf(const FileId& id, const Metadata& metadata) const {
  const auto record = now_.Node(id);
  if (!record || fresh_.contains(id)) return std::nullopt;
  // What was elsewhere meanwhile may have been written there, and nothing told of it.
  const bool elsewhere = returned_.contains(id) && IsSuspect(*record, metadata);
  return Compare(*record, metadata,
                 {.written = facts_.content.contains(id) || elsewhere,
                  .suspect = facts_.suspect.contains(id),
                  .told = facts_.nodes.contains(id)});
}

void Planner::Renew(const FileId& id, const Metadata& metadata) {
  const auto difference = DifferenceOf(id, metadata);
  if (!difference || *difference == Difference::kNone) return;
  if (metadata.type == NodeType::kDirectory) {
    Touch(id);
    return;
  }
  std::vector<Name> names = now_.NamesOf(id);
  // What waits in limbo is seen to differ when it has a place again.
  std::erase_if(names, [](const Name& name) { return name.dir.is_limbo(); });
  std::sort(names.begin(), names.end());
  if (names.empty()) return;
  const auto path = paths_.OfName(names.front());
  if (!path) return;

  Op op;
  op.node = id;
  op.type = metadata.type;
  op.path = *path;
  const auto wanted = wanted_.find(id);
  op.names = wanted != wanted_.end() ? wanted->second : names;
  op.concerns = {NodeChange(id)};
  const auto record = now_.Node(id);
  const bool regular = metadata.type == NodeType::kRegular;
  if (*difference == Difference::kMetadata) {
    op.kind = Op::Kind::kSetMetadata;
    catalogue::Effect effect = SetNodeEffect(id, metadata);
    effect.record.content = record->content;
    effect.record.content_known = record->content_known;
    Emit(std::move(op), {std::move(effect)});
    return;
  }
  op.kind = regular ? Op::Kind::kPut : Op::Kind::kMake;
  op.check_content = *difference == Difference::kCheckContent;
  op.known_hash = record->content;
  Touch(names.front().dir);
  Emit(std::move(op), {SetNodeEffect(id, metadata)}, regular ? metadata.size : 0);
  fresh_.insert(id);
  // A put makes a new node on the target: the other names of a hard-link group follow it. A link without effects, because
  // the catalogue has the name already: if it fails, what is there is the node as it was.
  for (std::size_t i = 1; i < names.size(); ++i) {
    Op link;
    link.kind = Op::Kind::kLink;
    link.node = id;
    link.type = metadata.type;
    link.from = *path;
    const auto other = paths_.OfName(names[i]);
    if (!other) continue;
    link.path = *other;
    link.concerns = {NameChange(names[i]), NodeChange(id)};
    Touch(names[i].dir);
    Emit(std::move(link), {});
  }
}

void Planner::RenewBeforeMove(const model::Node& node) {
  if (node.metadata.type != NodeType::kRegular) return;
  const auto difference = DifferenceOf(node.id, node.metadata);
  if (difference == Difference::kContent || difference == Difference::kCheckContent) Renew(node.id, node.metadata);
}

void Planner::RenewDirectories() {
  std::vector<FileId> dirs(touched_.begin(), touched_.end());
  std::sort(dirs.begin(), dirs.end());
  for (const FileId& dir : dirs) {
    if (dir.is_limbo() || dir.is_foreign()) continue;
    const auto record = now_.Node(dir);
    const auto path = paths_.OfDirectory(dir);
    if (!record || !path) continue;
    Metadata metadata = record->metadata;
    if (const auto it = facts_.nodes.find(dir); it != facts_.nodes.end()) {
      metadata = it->second.metadata;
    } else if (const auto wish = wanted_.find(dir); wish != wanted_.end()) {
      metadata = facts_.names.at(wish->second.front()).node->metadata;
    }
    Op op;
    op.kind = Op::Kind::kSetMetadata;
    op.node = dir;
    op.type = NodeType::kDirectory;
    op.path = *path;
    op.concerns = {NodeChange(dir)};
    Emit(std::move(op), {SetNodeEffect(dir, metadata)});
  }
}

}  // namespace fanmirror::plan
