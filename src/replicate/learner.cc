#include "replicate/learner.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "absl/hash/hash.h"
#include "absl/random/random.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_split.h"
#include "model/failure.h"
#include "model/path.h"
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

// Directories are asked for ahead as far as they have about so many entries, if they are like the one before: answers that
// wait for their turn lie in memory.
constexpr std::size_t kEntriesAhead = 65'536;

// Directories that were listed and not looked into yet: some two million, and a bound to what a receiver can make us hold.
constexpr std::size_t kMaxWaitingBytes = std::size_t{256} << 20;

std::size_t BytesOf(const std::string& path) { return path.size() + sizeof(FileId) + sizeof(std::string); }

Effect SetNode(const FileId& id, model::Metadata metadata) {
  metadata.ctime = {};  // marks it as learnt: see plan::IsAdopted
  Effect effect{.kind = Effect::Kind::kSetNode, .id = id, .name = {}, .to = {}, .record = {}};
  effect.record.metadata = metadata;
  return effect;
}

Effect SetName(const Name& name, const FileId& id) {
  return {.kind = Effect::Kind::kSetName, .id = id, .name = name, .to = {}, .record = {}};
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

std::uint64_t Voucher(const FileId& id, const model::Metadata& file) {
  return absl::HashOf(id, file.size, file.mtime.seconds, file.mtime.nanoseconds, file.ctime.seconds, file.ctime.nanoseconds);
}

model::Metadata DirectoryMetadata() {
  model::Metadata metadata;
  metadata.type = NodeType::kDirectory;
  return metadata;
}

bool InLimbo(const std::string& path) { return path.rfind(plan::kLimboPath, 0) == 0; }

absl::Status CannotList(const std::string& path, const wire::Listing& answer) {
  return model::Failure(model::Reaction::kReconnect,
                        "the target cannot list " + model::QuotePath(path) + ": " + answer.error);
}

// The id that the name of an entry of limbo stands for (plan::LimboName).
std::optional<FileId> LimboId(const std::string& name) {
  const std::string bytes = absl::HexStringToBytes(name);
  std::string_view in = bytes;
  auto id = FileId::Consume(&in);
  return id && in.empty() && plan::LimboName(*id).name == name ? id : std::nullopt;
}

}  // namespace

FileId NewForeign() {
  thread_local absl::BitGen random;
  return FileId::Foreign(absl::Uniform<std::uint64_t>(random));
}

Learner::Vouched Learner::VouchedBy(const catalogue::View& catalogue, const FileId& root) {
  Vouched vouched;
  std::vector<FileId> directories{root};
  while (!directories.empty()) {
    const FileId dir = directories.back();
    directories.pop_back();
    catalogue.ForEachChild(dir, [&](const std::string&, const FileId& id) {
      const auto record = catalogue.Node(id);
      if (!record) return true;
      if (record->metadata.type == NodeType::kDirectory) directories.push_back(id);
      if (record->metadata.type == NodeType::kRegular && !record->racy) vouched.insert(Voucher(id, record->metadata));
      return true;
    });
  }
  return vouched;
}

absl::Status Learner::LearnAll(const Vouched* vouched) {
  vouched_ = vouched;
  changes_.push_back(plan::TreeChange(tree_->root()));
  if (absl::Status status = NoteChanges(); !status.ok()) return status;
  if (absl::Status status = catalogue_->Clear(); !status.ok()) return status;
  Add(SetNode(tree_->root(), DirectoryMetadata()));
  for (const Directory& top : {Directory{FileId::Limbo(), plan::kLimboPath}, Directory{tree_->root(), ""}}) {
    std::vector<Directory> stack;
    if (absl::Status status = Enter(top, &stack); !status.ok()) return status;
    if (absl::Status status = LearnDirectories(std::move(stack)); !status.ok()) return status;
  }
  return Finish();
}

absl::Status Learner::LearnDirectories(std::vector<Directory> stack) {
  std::deque<Directory> asked;
  std::size_t ahead = 1;
  while (!stack.empty() || !asked.empty()) {
    for (; !stack.empty() && asked.size() < ahead; stack.pop_back()) {
      ask_(stack.back().path, /*children=*/true);
      asked.push_back(std::move(stack.back()));
    }
    const auto entries = LearnListing(asked.front(), &stack);
    if (!entries.ok()) return entries.status();
    waiting_bytes_ -= BytesOf(asked.front().path);
    asked.pop_front();
    ahead = std::clamp(kEntriesAhead / (1 + *entries), std::size_t{1}, kMostAhead);
  }
  return Flush(kCommitEffects);
}

// Takes the answer about a directory; how many entries it has.
absl::StatusOr<std::size_t> Learner::LearnListing(const Directory& dir, std::vector<Directory>* stack) {
  std::size_t entries = 0;
  const absl::Status status = answer_([&](const wire::Listing& listing) -> absl::Status {
    if (!listing.error.empty()) return CannotList(dir.path, listing);
    entries += listing.entries.size();
    for (const wire::ListedEntry& entry : listing.entries) {
      if (absl::Status learnt = LearnEntry(dir, entry, stack); !learnt.ok()) return learnt;
    }
    return Flush(kCommitEffects);
  });
  if (!status.ok()) return status;
  return entries;
}

absl::Status Learner::LearnEntry(const Directory& dir, const wire::ListedEntry& entry, std::vector<Directory>* stack) {
  const std::string path = model::JoinPath(dir.path, entry.name);
  const bool directory = entry.metadata.type == NodeType::kDirectory;
  if (dir.id == tree_->root() && entry.name == ".fanmirror") return absl::OkStatus();
  if (!InLimbo(path) && selection_->Excludes(path, directory)) return absl::OkStatus();
  if (dir.id.is_limbo() && !LimboId(entry.name)) return absl::OkStatus();
  const auto id = Identify(dir, entry);
  if (!id.ok()) return id.status();
  if (directory && !id->is_foreign() && noted_.insert(*id).second) changes_.push_back(plan::TreeChange(*id));
  // What was believed to lie there goes with all that was believed to lie below it; and a directory that comes to limbo may
  // still be believed to lie elsewhere, with what was in it.
  if (view_.Child({dir.id, entry.name})) Forget({dir.id, entry.name});
  if (directory) ForgetBelow(*id);
  Add(SetNode(*id, entry.metadata));
  Add(SetName({dir.id, entry.name}, *id));
  return directory ? Enter({*id, path}, stack) : absl::OkStatus();
}

absl::Status Learner::Enter(Directory dir, std::vector<Directory>* stack) {
  if (dir.path.size() > wire::kMaxPathBytes) {
    return model::Failure(model::Reaction::kReconnect, "the target lists a directory with a path of more than " +
                                                           std::to_string(wire::kMaxPathBytes) + " bytes; remove it there");
  }
  waiting_bytes_ += BytesOf(dir.path);
  if (waiting_bytes_ > kMaxWaitingBytes) {
    return model::Failure(model::Reaction::kReconnect,
                          "the target lists more directories than can be remembered; is it the right one?");
  }
  stack->push_back(std::move(dir));
  return absl::OkStatus();
}

absl::StatusOr<FileId> Learner::Identify(const Directory& dir, const wire::ListedEntry& entry) {
  if (dir.id.is_limbo()) return *LimboId(entry.name);
  if (dir.id.is_foreign()) return NewForeign();
  const auto node = tree_->Look({dir.id, entry.name});
  if (!node.ok()) return node.status();
  if (!*node || !MayBeTheSame((*node)->metadata, entry.metadata)) return NewForeign();
  const FileId id = (*node)->id;
  if (vouched_ != nullptr && !IsVouchedFor(**node)) return NewForeign();
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

bool Learner::IsVouchedFor(const model::Node& node) const {
  if (node.metadata.type != NodeType::kRegular) return true;
  model::Metadata adopted = node.metadata;
  adopted.ctime = {};  // believed by size and mtime before, and not sent since
  return vouched_->contains(Voucher(node.id, node.metadata)) || vouched_->contains(Voucher(node.id, adopted));
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

absl::StatusOr<bool> Learner::DoubtNode(const std::string& path, bool content) {
  const std::size_t slash = path.rfind('/');
  const auto parent = FindDirectory(slash == std::string::npos ? "" : path.substr(0, slash));
  if (!parent) return false;
  const Name name{*parent, path.substr(slash == std::string::npos ? 0 : slash + 1)};
  const auto id = view_.Child(name);
  const auto record = id ? view_.Node(*id) : std::nullopt;
  if (!record || id->is_foreign()) return false;
  const auto node = tree_->Look(name);
  if (!node.ok()) return node.status();
  if (!*node || (*node)->id != *id) return false;
  Effect effect = SetNode(*id, record->metadata);
  effect.record.content = record->content;
  effect.record.content_known = record->content_known && !content;
  Add(std::move(effect));
  model::Change change = plan::NodeChange(*id);
  change.content = content;
  changes_.push_back(std::move(change));
  return true;
}

absl::Status Learner::LearnPlaces(std::map<std::string, bool> places) {
  // No message can name these, so no op did: they are what they were believed to be.
  std::erase_if(places, [](const auto& place) { return place.first.size() > wire::kMaxPathBytes; });
  for (auto at = places.begin(); at != places.end();) {
    auto end = at;
    for (std::size_t ahead = 0; ahead < kMostAhead && end != places.end(); ++ahead, ++end) {
      if (!end->first.empty()) ask_(end->first, /*children=*/false);
    }
    // All answers before the first is used: what lies below a place is asked for then, and answered behind them.
    std::vector<Self> answers;
    for (auto place = at; place != end; ++place) {
      Self& self = answers.emplace_back();
      if (place->first.empty()) continue;  // the root is there
      if (absl::Status status = TakeSelf(place->first, &self); !status.ok()) return status;
    }
    // In the order of their paths: a directory before what is in it.
    for (auto answer = answers.begin(); at != end; ++at, ++answer) {
      if (absl::Status status = LearnPlace(at->first, at->second, *answer); !status.ok()) return status;
    }
  }
  return Finish();
}

// That a place cannot be listed is kept in `self`: it matters only if it is still to be learnt when its turn comes.
absl::Status Learner::TakeSelf(const std::string& path, Self* self) {
  return answer_([&](const wire::Listing& listing) {
    if (!listing.error.empty()) self->status = CannotList(path, listing);
    if (listing.exists) self->entry = listing.self;
    return absl::OkStatus();
  });
}

absl::Status Learner::LearnPlace(const std::string& path, bool recursive, const Self& target) {
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
  if (!target.status.ok()) return target.status;
  std::optional<wire::ListedEntry> self = target.entry;

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
  // Whatever it is called by now: what was put there is not known by its size and mtime.
  if (const auto id = view_.Child(name); self->metadata.type == NodeType::kRegular && id && !id->is_foreign()) {
    changes_.push_back(plan::NodeChange(*id));
  }
  return LearnDirectories(std::move(stack));
}

void Learner::Forget(const Name& name) {
  if (const FileId id = *view_.Child(name); GoesWithItsName(id)) ForgetBelow(id);
  DropName(name);
}

// A directory; what is below one with another name was learnt under that one.
bool Learner::GoesWithItsName(const FileId& id) const {
  const auto record = view_.Node(id);
  return record && record->metadata.type == NodeType::kDirectory && view_.NamesOf(id).size() == 1;
}

void Learner::ForgetBelow(const FileId& dir) {
  std::vector<Name> order;
  const auto add_entries = [&](const FileId& of) {
    view_.ForEachChild(of, [&](const std::string& entry, const FileId&) {
      order.push_back({of, entry});
      return true;
    });
  };
  add_entries(dir);
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (const FileId id = *view_.Child(order[i]); GoesWithItsName(id)) add_entries(id);
  }
  for (auto it = order.rbegin(); it != order.rend(); ++it) DropName(*it);
}

void Learner::DropName(const Name& name) {
  Add({.kind = Effect::Kind::kDropName, .id = {}, .name = name, .to = {}, .record = {}});
}

void Learner::Add(Effect effect) {
  view_.Apply(/*batch=*/1, effect);
  effects_.push_back(std::move(effect));
}

absl::Status Learner::Finish() {
  if (absl::Status status = NoteChanges(); !status.ok()) return status;
  return Flush(1);
}

absl::Status Learner::Flush(std::size_t at_least) {
  if (effects_.size() < at_least) return absl::OkStatus();
  if (absl::Status status = NoteChanges(); !status.ok()) return status;
  absl::Status status = catalogue_->Commit(catalogue_->header().batch, effects_);
  effects_.clear();
  view_.Clear();
  return status;
}

absl::Status Learner::NoteChanges() {
  if (changes_.empty()) return absl::OkStatus();
  absl::Status status = note_(changes_);
  if (status.ok()) changes_.clear();
  return status;
}

}  // namespace fanmirror::replicate
