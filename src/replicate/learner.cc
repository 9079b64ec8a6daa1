#include "replicate/learner.h"

#include <algorithm>
#include <utility>

#include "absl/random/random.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_split.h"
#include "model/failure.h"
#include "plan/paths.h"
#include "plan/planner.h"

namespace fanmirror::replicate {

using catalogue::Effect;
using model::FileId;
using model::Name;
using model::NodeType;

namespace {

// Effects of one commit: a few MB of a transaction.
constexpr std::size_t kCommitEffects = 20'000;

std::string Join(const std::string& dir, const std::string& name) { return dir.empty() ? name : dir + "/" + name; }

Effect SetNode(const FileId& id, model::Metadata metadata) {
  metadata.ctime = {};  // marks it as learnt: see plan::IsAdopted
  Effect effect{.kind = Effect::Kind::kSetNode, .id = id, .name = {}, .to = {}, .record = {}};
  effect.record.metadata = metadata;
  return effect;
}

Effect SetName(const Name& name, const FileId& id) {
  return {.kind = Effect::Kind::kSetName, .id = id, .name = name, .to = {}, .record = {}};
}

FileId NewForeign() {
  thread_local absl::BitGen random;
  return FileId::Foreign(absl::Uniform<std::uint64_t>(random));
}

bool MayBeTheSame(const model::Metadata& source, const model::Metadata& target) {
  if (source.type != target.type) return false;
  switch (source.type) {
    case NodeType::kRegular:
      return source.size == target.size && source.mtime == target.mtime;
    case NodeType::kSymlink:
      return false;  // where it points to is not listed: made anew
    case NodeType::kCharDevice:
    case NodeType::kBlockDevice:
      return source.device_major == target.device_major && source.device_minor == target.device_minor;
    default:
      return true;
  }
}

model::Metadata DirectoryMetadata() {
  model::Metadata metadata;
  metadata.type = NodeType::kDirectory;
  return metadata;
}

bool InLimbo(const std::string& path) { return path.rfind(plan::kLimboPath, 0) == 0; }

// The id that the name of an entry of limbo stands for (plan::LimboName).
std::optional<FileId> LimboId(const std::string& name) {
  const std::string bytes = absl::HexStringToBytes(name);
  std::string_view in = bytes;
  auto id = FileId::Consume(&in);
  return id && in.empty() && plan::LimboName(*id).name == name ? id : std::nullopt;
}

}  // namespace

absl::Status Learner::LearnAll() {
  if (absl::Status status = catalogue_->Clear(); !status.ok()) return status;
  changes_.push_back(plan::TreeChange(tree_->root()));
  Add(SetNode(tree_->root(), DirectoryMetadata()));
  if (absl::Status status = LearnDirectories({{FileId::Limbo(), plan::kLimboPath}}); !status.ok()) return status;
  if (absl::Status status = LearnDirectories({{tree_->root(), ""}}); !status.ok()) return status;
  return Finish();
}

absl::Status Learner::LearnDirectories(std::vector<Directory> stack) {
  while (!stack.empty()) {
    const Directory dir = std::move(stack.back());
    stack.pop_back();
    const absl::Status status = list_(dir.path, /*children=*/true, [&](const wire::Listing& listing) -> absl::Status {
      for (const wire::ListedEntry& entry : listing.entries) {
        if (absl::Status learnt = LearnEntry(dir, entry, &stack); !learnt.ok()) return learnt;
      }
      return Flush(kCommitEffects);
    });
    if (!status.ok()) return status;
  }
  return Flush(kCommitEffects);
}

absl::Status Learner::LearnEntry(const Directory& dir, const wire::ListedEntry& entry, std::vector<Directory>* stack) {
  const std::string path = Join(dir.path, entry.name);
  const bool directory = entry.metadata.type == NodeType::kDirectory;
  if (dir.id == tree_->root() && entry.name == ".fanmirror") return absl::OkStatus();
  if (!InLimbo(path) && selection_->Excludes(path, directory)) return absl::OkStatus();
  if (dir.id.is_limbo() && !LimboId(entry.name)) return absl::OkStatus();
  const auto id = Identify(dir, entry);
  if (!id.ok()) return id.status();
  if (directory && !id->is_foreign()) changes_.push_back(plan::TreeChange(*id));
  if (view_.Child({dir.id, entry.name}) == *id && view_.Node(*id)) return absl::OkStatus();
  // What was believed to lie there goes with all that was believed to lie below it.
  if (const auto old = view_.Child({dir.id, entry.name}); old && *old != *id) Forget({dir.id, entry.name});
  Add(SetNode(*id, entry.metadata));
  Add(SetName({dir.id, entry.name}, *id));
  if (directory) stack->push_back({*id, path});
  return absl::OkStatus();
}

absl::StatusOr<FileId> Learner::Identify(const Directory& dir, const wire::ListedEntry& entry) {
  if (dir.id.is_limbo()) return *LimboId(entry.name);
  if (dir.id.is_foreign()) return NewForeign();
  const auto node = tree_->Look({dir.id, entry.name});
  if (!node.ok()) return node.status();
  if (!*node || !MayBeTheSame((*node)->metadata, entry.metadata)) return NewForeign();
  const FileId id = (*node)->id;
  // Known to lie elsewhere on the target: then this is another node, or that place is of unknown outcome, too.
  const std::vector<Name> known = view_.NamesOf(id);
  const bool here = std::find(known.begin(), known.end(), Name{dir.id, entry.name}) != known.end();
  if (!here && !known.empty() && !inode_of_.contains(id)) return NewForeign();
  if ((*node)->metadata.type == NodeType::kDirectory) return id;
  if ((*node)->metadata.links < 2 && entry.metadata.links < 2) return id;
  // Names are grouped on the target as they are on the source, or they are not the same.
  const auto [inode, new_id] = inode_of_.try_emplace(id, entry.inode);
  const auto [other, new_inode] = id_of_.try_emplace(entry.inode, id);
  if (inode->second != entry.inode || other->second != id) return NewForeign();
  return id;
}

std::optional<FileId> Learner::FindDirectory(const std::string& path) const {
  FileId at = tree_->root();
  std::string rest = path;
  if (InLimbo(path)) {
    at = FileId::Limbo();
    rest = path.substr(std::min(path.size(), std::string(plan::kLimboPath).size() + 1));
  }
  if (rest.empty()) return at;
  for (const absl::string_view component : absl::StrSplit(rest, '/')) {
    const auto child = view_.Child({at, std::string(component)});
    if (!child) return std::nullopt;
    at = *child;
  }
  return at;
}

absl::Status Learner::DoubtNode(const std::string& path, bool content) {
  const std::size_t slash = path.rfind('/');
  const auto parent = FindDirectory(slash == std::string::npos ? "" : path.substr(0, slash));
  const auto name = parent ? std::optional<Name>({*parent, path.substr(slash == std::string::npos ? 0 : slash + 1)}) : std::nullopt;
  const auto id = name ? view_.Child(*name) : std::nullopt;
  const auto record = id ? view_.Node(*id) : std::nullopt;
  if (!record || id->is_foreign()) return LearnPlace(path, /*recursive=*/false);
  const auto node = tree_->Look(*name);
  if (!node.ok()) return node.status();
  if (!*node || (*node)->id != *id) return LearnPlace(path, /*recursive=*/false);
  Effect effect = SetNode(*id, record->metadata);
  effect.record.content = record->content;
  effect.record.content_known = record->content_known && !content;
  Add(std::move(effect));
  model::Change change = plan::NodeChange(*id);
  change.content = content;
  changes_.push_back(std::move(change));
  return Flush(kCommitEffects);
}

absl::Status Learner::LearnPlace(const std::string& path, bool recursive) {
  if (path.empty()) {
    const auto root = view_.Node(tree_->root());
    Add(SetNode(tree_->root(), root ? root->metadata : DirectoryMetadata()));
    changes_.push_back(plan::NodeChange(tree_->root()));
    return Flush(kCommitEffects);
  }
  const std::size_t slash = path.rfind('/');
  const std::string parent_path = slash == std::string::npos ? "" : path.substr(0, slash);
  const auto parent = FindDirectory(parent_path);
  if (!parent) return absl::OkStatus();  // the parent itself is of unknown outcome, and learnt as such
  const Name name{*parent, path.substr(slash == std::string::npos ? 0 : slash + 1)};

  if (!parent->is_limbo()) changes_.push_back(plan::NameChange(name));
  std::optional<wire::ListedEntry> self;
  const absl::Status listed = list_(path, /*children=*/false, [&](const wire::Listing& listing) {
    if (listing.exists) self = listing.self;
    return absl::OkStatus();
  });
  if (!listed.ok()) return listed;

  const auto child = view_.Child(name);
  const auto record = child ? view_.Node(*child) : std::nullopt;
  const bool both_directories = self && record && self->metadata.type == NodeType::kDirectory &&
                                record->metadata.type == NodeType::kDirectory;
  if (both_directories && !recursive) {
    Add(SetNode(*child, record->metadata));
    changes_.push_back(plan::NodeChange(*child));
    return Flush(kCommitEffects);
  }
  if (child) Forget(name);
  if (!self) return Flush(kCommitEffects);
  self->name = name.name;
  std::vector<Directory> stack;
  if (absl::Status status = LearnEntry({*parent, parent_path}, *self, &stack); !status.ok()) return status;
  return LearnDirectories(std::move(stack));
}

void Learner::Forget(const Name& name) {
  std::vector<Name> order{name};
  for (std::size_t i = 0; i < order.size(); ++i) {
    const FileId id = *view_.Child(order[i]);
    const auto record = view_.Node(id);
    if (view_.NamesOf(id).size() > 1) continue;  // what is below it was learnt under its other name
    if (!record || record->metadata.type != NodeType::kDirectory) continue;
    view_.ForEachChild(id, [&](const std::string& entry, const FileId&) {
      order.push_back({id, entry});
      return true;
    });
  }
  for (auto it = order.rbegin(); it != order.rend(); ++it) {
    Add({.kind = Effect::Kind::kDropName, .id = {}, .name = *it, .to = {}, .record = {}});
  }
}

void Learner::Add(Effect effect) {
  view_.Apply(/*batch=*/1, effect);
  effects_.push_back(std::move(effect));
}

absl::Status Learner::Flush(std::size_t at_least) {
  if (effects_.size() < at_least) return absl::OkStatus();
  const absl::Status status = catalogue_->Commit(catalogue_->header().batch, effects_);
  effects_.clear();
  view_.Clear();
  return status;
}

}  // namespace fanmirror::replicate
