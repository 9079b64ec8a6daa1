#include "watch/selection.h"

#include <algorithm>
#include <optional>

#include "model/metadata.h"

namespace fanmirror::watch {
namespace {

// Directories remembered for one subscription: about 10 MB. When more are busy than that, asking anew (some
// µs each) is what it costs.
constexpr std::size_t kMaxVerdicts = 65'536;
// Changes in one call of `changed`, so that a transaction of the pending set stays short.
constexpr std::size_t kMaxChangesInCall = 1'024;
// What a target keeps for itself at its root, so it has no meaning at the source's.
constexpr std::string_view kReservedName = ".fanmirror";

}  // namespace

Selection::Selection(Subscription subscription)
    : subscription_(std::move(subscription)), ignored_(subscription_.ignored) {
  ignored_.emplace_back(kReservedName);
}

void Selection::Offer(const Candidate& candidate) {
  if (candidate.kind == model::Change::Kind::kTree) {
    if (Selects(candidate.place) == Answer::kNo || !MayHold(VerdictOf(candidate.id).where)) return;
    if (Selects(candidate.origin) == Answer::kYes && SelectsLikewiseBelow(candidate)) return;
  } else if (candidate.origin.kind != EventPlace::Kind::kNowhere) {
    if (Selects(candidate.place) == Answer::kNo || Selects(candidate.origin) == Answer::kYes) return;
  } else if (candidate.place.kind == EventPlace::Kind::kNowhere) {
    single_.erase(candidate.id);  // a link to it is told of so
    if (!SelectsNode(candidate.id)) return;
  } else if (Selects(candidate.place) == Answer::kNo) {
    if (candidate.kind == model::Change::Kind::kName) AddDirectoryOf(candidate.place);
    // What is written under a name that is nobody's may have another that is selected.
    if (candidate.kind != model::Change::Kind::kNode || !HasOtherNames(candidate.id)) return;
  }
  Add(candidate);
}

void Selection::OfferDamaged(const model::FileId& node) {
  if (node.empty() || !SelectsNode(node)) return;
  Candidate damaged;
  damaged.kind = model::Change::Kind::kNode;
  damaged.id = node;
  damaged.content = true;
  Add(damaged);
  const auto looked = subscription_.tree->LookNode(node);
  if (!looked.ok() || !looked->has_value()) return;
  if ((*looked)->metadata.type != model::NodeType::kDirectory) return;
  damaged.kind = model::Change::Kind::kTree;
  damaged.content = false;
  Add(damaged);
}

// An entry that is nobody's changes the mtime of its directory all the same.
void Selection::AddDirectoryOf(const EventPlace& place) {
  if (VerdictOf(place.dir).where != Where::kInside) return;
  Candidate directory;
  directory.kind = model::Change::Kind::kNode;
  directory.id = place.dir;
  Add(directory);
}

Selection::Answer Selection::Selects(const EventPlace& place) {
  if (place.kind == EventPlace::Kind::kNowhere) return Answer::kPerhaps;
  const Verdict& verdict = VerdictOf(place.dir);
  if (!MayHold(verdict.where)) return Answer::kNo;
  if (verdict.where == Where::kUnknown) return Answer::kPerhaps;
  if (place.kind == EventPlace::Kind::kDirectory) return Answer::kYes;
  return SelectsPath(*PathOf(place), place.is_directory) ? Answer::kYes : Answer::kNo;
}

// Of an entry, relative to the source root; valid until the next call. nullopt: not known to lie below the source.
std::optional<std::string_view> Selection::PathOf(const EventPlace& place) {
  const Verdict& verdict = VerdictOf(place.dir);
  if (place.kind != EventPlace::Kind::kEntry || verdict.where != Where::kInside) return std::nullopt;
  path_ = verdict.path;
  if (!path_.empty()) path_.push_back('/');
  path_.append(place.name);
  return path_;
}

// Of a directory that moved: whether nothing below it is selected at one of its places and not at the other.
bool Selection::SelectsLikewiseBelow(const Candidate& tree) {
  if (subscription_.filter.empty()) return true;
  for (const EventPlace* place : {&tree.origin, &tree.place}) {
    const auto path = PathOf(*place);
    if (!path || subscription_.filter.DependsOnPlace(*path)) return false;
  }
  return true;
}

bool Selection::SelectsPath(std::string_view path, bool is_directory) const {
  return !IsIgnored(path) && !subscription_.filter.Excludes(path, is_directory);
}

// Most nodes that are told of without a place are files that just lost their last name, anywhere on the
// filesystem; the name's own event says all of that. One whose only name is known to lie elsewhere is
// nobody's either.
bool Selection::SelectsNode(const model::FileId& id) const {
  const auto node = subscription_.tree->LookNode(id);
  if (!node.ok()) return true;
  if (!node->has_value()) return false;
  const model::Metadata& metadata = (*node)->metadata;
  const bool is_directory = metadata.type == model::NodeType::kDirectory;
  if (!is_directory && metadata.links > 1) return true;
  const auto place = subscription_.tree->Locate(id);
  if (!place.ok()) return true;
  switch (place->kind) {
    case os::Tree::Place::Kind::kOutside:
      return false;
    case os::Tree::Place::Kind::kInside:
      return !IsIgnored(place->path) && !subscription_.filter.ExcludesWithParents(place->path, is_directory);
    case os::Tree::Place::Kind::kGone:
    case os::Tree::Place::Kind::kUnknown:
      return true;
  }
  return true;
}

bool Selection::HasOtherNames(const model::FileId& id) {
  if (single_.contains(id)) return false;
  const auto node = subscription_.tree->LookNode(id);
  if (!node.ok()) return true;
  if (node->has_value() && (*node)->metadata.type != model::NodeType::kDirectory && (*node)->metadata.links > 1) return true;
  if (single_.size() >= kMaxVerdicts) single_.clear();
  single_.insert(id);
  return false;
}

bool Selection::IsIgnored(std::string_view path) const {
  return std::any_of(ignored_.begin(), ignored_.end(), [path](const std::string& ignored) {
    return !ignored.empty() && path.starts_with(ignored) &&
           (path.size() == ignored.size() || path[ignored.size()] == '/');
  });
}

const Selection::Verdict& Selection::VerdictOf(const model::FileId& dir) {
  const auto known = verdicts_.find(dir);
  if (known != verdicts_.end()) return known->second;
  auto [verdict, lasting] = Locate(dir);
  if (!lasting) return passing_ = std::move(verdict);
  if (verdicts_.size() >= kMaxVerdicts) verdicts_.clear();
  return verdicts_.emplace(dir, std::move(verdict)).first->second;
}

std::pair<Selection::Verdict, bool> Selection::Locate(const model::FileId& dir) const {
  auto place = subscription_.tree->Locate(dir);
  if (!place.ok()) return {{}, false};
  switch (place->kind) {
    case os::Tree::Place::Kind::kGone:
      return {{}, true};  // a handle is never reused
    case os::Tree::Place::Kind::kUnknown:
      return {{}, false};
    case os::Tree::Place::Kind::kOutside:
      return {{Where::kOutside, {}}, true};
    case os::Tree::Place::Kind::kInside:
      break;
  }
  const bool excluded = !place->path.empty() && (IsIgnored(place->path) ||
                                                 subscription_.filter.ExcludesWithParents(place->path, true));
  if (excluded) return {{Where::kExcluded, {}}, true};
  return {{Where::kInside, std::move(place->path)}, true};
}

void Selection::Add(const Candidate& candidate) {
  auto [at, fresh] =
      index_.try_emplace({candidate.kind, {candidate.id, std::string(candidate.name)}}, changes_.size());
  if (!fresh) {
    changes_[at->second].content |= candidate.content;
    return;
  }
  changes_.push_back({candidate.kind, candidate.id, std::string(candidate.name), candidate.content, false});
}

void Selection::Flush() {
  const absl::Span<const model::Change> all(changes_);
  for (std::size_t begin = 0; begin < all.size(); begin += kMaxChangesInCall) {
    subscription_.changed(all.subspan(begin, kMaxChangesInCall));
  }
  changes_.clear();
  index_.clear();
}

void Selection::Lost() { subscription_.lost(); }

}  // namespace fanmirror::watch
