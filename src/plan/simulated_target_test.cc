#include "plan/simulated_target.h"

#include "absl/strings/str_split.h"
#include "plan/paths.h"

namespace fanmirror::plan {

using model::NodeType;
using model::Op;

SimulatedTarget::SimulatedTarget() : root_(std::make_shared<Node>()), limbo_(std::make_shared<Node>()) {}

absl::Status SimulatedTarget::Find(const std::string& path, Place* place) const {
  std::string rest = path;
  std::shared_ptr<Node> at = root_;
  if (path.rfind(kLimboPath, 0) == 0) {
    at = limbo_;
    rest = path.substr(std::string(kLimboPath).size() + 1);
  }
  std::vector<std::string> components = absl::StrSplit(rest, '/');
  for (std::size_t i = 0; i + 1 < components.size(); ++i) {
    const auto it = at->entries.find(components[i]);
    if (it == at->entries.end()) return absl::NotFoundError(path);
    if (it->second->type != NodeType::kDirectory) return absl::FailedPreconditionError(path + ": not a directory");
    at = it->second;
  }
  *place = {at, components.back()};
  return absl::OkStatus();
}

bool SimulatedTarget::Contains(const Node& tree, const Node* node) {
  if (&tree == node) return true;
  for (const auto& [name, entry] : tree.entries) {
    if (entry->type == NodeType::kDirectory && Contains(*entry, node)) return true;
  }
  return false;
}

absl::Status SimulatedTarget::PutOver(const Place& place, std::shared_ptr<Node> node) {
  auto& slot = place.dir->entries[place.name];
  if (slot && (slot->type == NodeType::kDirectory || node->type == NodeType::kDirectory)) {
    return absl::FailedPreconditionError(place.name + ": a directory is in the way");
  }
  slot = std::move(node);
  return absl::OkStatus();
}

absl::Status SimulatedTarget::Rename(const Op& op, const Place& to) {
  Place from;
  if (absl::Status status = Find(op.from, &from); !status.ok()) return status;
  const auto it = from.dir->entries.find(from.name);
  if (it == from.dir->entries.end()) return absl::NotFoundError(op.from);
  auto node = it->second;
  if (node->type == NodeType::kDirectory && Contains(*node, to.dir.get())) {
    return absl::InvalidArgumentError(op.from + " into itself");
  }
  if (op.kind == Op::Kind::kExchange) {
    const auto other = to.dir->entries.find(to.name);
    if (other == to.dir->entries.end()) return absl::NotFoundError(op.path);
    if (other->second->type == NodeType::kDirectory && Contains(*other->second, from.dir.get())) {
      return absl::InvalidArgumentError(op.path + " into itself");
    }
    std::swap(it->second, other->second);
    return absl::OkStatus();
  }
  from.dir->entries.erase(it);
  return PutOver(to, node);
}

absl::Status SimulatedTarget::Apply(const Op& op, std::uint64_t content, std::uint64_t metadata) {
  if (op.path.empty()) {
    root_->metadata = metadata;
    return op.kind == Op::Kind::kSetMetadata ? absl::OkStatus() : absl::InvalidArgumentError("the root");
  }
  Place place;
  if (absl::Status status = Find(op.path, &place); !status.ok()) return status;
  const auto there = place.dir->entries.find(op.path.empty() ? "" : place.name);
  const bool exists = there != place.dir->entries.end();
  switch (op.kind) {
    case Op::Kind::kMake:
    case Op::Kind::kPut: {
      auto node = std::make_shared<Node>();
      node->type = op.type;
      node->content = content;
      node->metadata = metadata;
      return PutOver(place, std::move(node));
    }
    case Op::Kind::kLink: {
      Place from;
      if (absl::Status status = Find(op.from, &from); !status.ok()) return status;
      const auto it = from.dir->entries.find(from.name);
      if (it == from.dir->entries.end()) return absl::NotFoundError(op.from);
      return PutOver(place, it->second);
    }
    case Op::Kind::kRename:
    case Op::Kind::kExchange:
      return Rename(op, place);
    case Op::Kind::kRemove:
      if (!exists) return absl::NotFoundError(op.path);
      if (!there->second->entries.empty()) return absl::FailedPreconditionError(op.path + ": not empty");
      place.dir->entries.erase(there);
      return absl::OkStatus();
    case Op::Kind::kSetMetadata:
      if (!exists) return absl::NotFoundError(op.path);
      if (there->second->type != op.type) return absl::FailedPreconditionError(op.path + ": of another type");
      there->second->metadata = metadata;
      return absl::OkStatus();
  }
  return absl::InternalError("op");
}

}  // namespace fanmirror::plan
