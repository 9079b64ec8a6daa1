#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "model/failure.h"
#include "model/path.h"
#include "plan/planner.h"
#include "replicate/verifier.h"

// What the first look found different is looked at again, and repaired where that is asked for.
namespace fanmirror::replicate {

using model::NodeType;

namespace {

// Listings of single places that the target is asked for ahead.
constexpr std::size_t kPlacesAhead = 64;

}  // namespace

absl::Status Verifier::Resolve() {
  std::vector<Suspect> suspects = std::exchange(suspects_, {});
  for (int look = 0; !suspects.empty() && look < kMaxLooks; ++look) {
    if (absl::Status status = host_.settle(); !status.ok()) return status;
    if (absl::Status status = LookAgain(&suspects); !status.ok()) return status;
    std::vector<Suspect> differ;
    std::vector<Suspect> again;
    for (Suspect& suspect : suspects) {
      const Pending pending = PendingOf(suspect);
      counts_.pending += pending == Pending::kFailure;
      if (pending == Pending::kFailure) continue;
      (suspect.moved || pending == Pending::kChange ? again : differ).push_back(std::move(suspect));
    }
    if (absl::Status status = options_.repair ? RepairAll(differ) : ReportAll(differ); !status.ok()) return status;
    if (absl::Status status = Pace(); !status.ok()) return status;
    suspects = std::move(again);
  }
  counts_.changing += suspects.size();
  return absl::OkStatus();
}

absl::Status Verifier::RepairAll(const std::vector<Suspect>& suspects) {
  std::vector<Repair> repairs;
  std::vector<Suspect> left;
  for (const Suspect& suspect : suspects) {
    if (suspect.unreadable) continue;
    repairs.push_back({suspect.path, suspect.kind});
    left.push_back(suspect);
  }
  if (!repairs.empty()) {
    if (absl::Status status = host_.repair(std::move(repairs)); !status.ok()) return status;
    if (absl::Status status = host_.settle(); !status.ok()) return status;
    if (absl::Status status = LookAgain(&left); !status.ok()) return status;
  }
  for (const Suspect& suspect : suspects) {
    const bool repaired = !suspect.unreadable && std::none_of(left.begin(), left.end(), [&](const Suspect& one) {
      return one.name == suspect.name && !one.moved;  // what changed since is replicated as any change
    });
    if (absl::Status status = Report(suspect, repaired); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status Verifier::ReportAll(const std::vector<Suspect>& suspects) {
  for (const Suspect& suspect : suspects) {
    if (absl::Status status = Report(suspect, /*repaired=*/false); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status Verifier::Report(const Suspect& suspect, bool repaired) {
  ++counts_.differences;
  counts_.repaired += repaired;
  return Tell({.path = suspect.path, .what = suspect.what, .repaired = repaired});
}

// What fails on the target is told by `status`; it is no difference that nobody knew of.
Verifier::Pending Verifier::PendingOf(const Suspect& suspect) const {
  const Pending name = suspect.name.name.empty() ? Pending::kNothing : host_.pending(plan::NameChange(suspect.name));
  const Pending node = suspect.source ? host_.pending(plan::NodeChange(suspect.source->id)) : Pending::kNothing;
  return std::max(name, node);
}

absl::Status Verifier::LookAgain(std::vector<Suspect>* suspects) {
  for (Suspect& suspect : *suspects) LookAtSource(&suspect);
  if (absl::Status status = LookAtTarget(suspects); !status.ok()) return status;
  std::vector<Pair> pairs;
  std::vector<Suspect*> of_pair;
  for (Suspect& suspect : *suspects) {
    if (!suspect.pair || suspect.moved) continue;
    pairs.push_back(*suspect.pair);
    of_pair.push_back(&suspect);
  }
  if (absl::Status status = reader_->Compare(&pairs); !status.ok()) return status;
  for (std::size_t i = 0; i < pairs.size(); ++i) of_pair[i]->pair = std::move(pairs[i]);
  for (Suspect* suspect : of_pair) {
    Judge(suspect);
    if (!suspect->what.empty() || !suspect->other) continue;
    if (absl::Status status = JudgeLinks(suspect); !status.ok()) return status;
  }
  std::erase_if(*suspects, [](const Suspect& suspect) { return suspect.what.empty() && !suspect.moved; });
  return absl::OkStatus();
}

// Where the source is not what it was, what was seen before was a change on its way.
void Verifier::LookAtSource(Suspect* suspect) {
  suspect->what.clear();
  suspect->unreadable = false;
  suspect->kind = Repair::Kind::kPlace;
  suspect->pair.reset();
  auto node = SourceNode(suspect->name);
  const auto place = host_.tree->Locate(suspect->name.dir);
  if (!node.ok() || !place.ok()) {
    suspect->what = "not compared: " + std::string((node.ok() ? place.status() : node.status()).message());
    suspect->unreadable = true;
    return;
  }
  if (!suspect->name.name.empty()) {
    // The directory went or left the job, with all that is in it: its own name tells.
    if (place->kind != os::Tree::Place::Kind::kInside) {
      suspect->moved = false;
      suspect->source.reset();
      suspect->gone = true;
      return;
    }
    suspect->path = model::JoinPath(place->path, suspect->name.name);
    const bool directory = *node && (*node)->metadata.type == NodeType::kDirectory;
    if (*node && host_.selection->ExcludesWithParents(suspect->path, directory)) node->reset();
  }
  suspect->moved = *node != suspect->source;
  suspect->source = *std::move(node);
}

// Sets the pairs of those that both sides have, and judges the others.
absl::Status Verifier::LookAtTarget(std::vector<Suspect>* suspects) {
  std::deque<std::uint64_t> asked;
  std::size_t ahead = 0;
  for (Suspect& suspect : *suspects) {
    for (; ahead < suspects->size() && asked.size() < kPlacesAhead; ++ahead) {
      asked.push_back(AskFor((*suspects)[ahead].path, /*children=*/false, 0));
    }
    auto listing = TakeListing(asked.front());
    asked.pop_front();
    if (!listing.ok()) return listing.status();
    if (!suspect.what.empty() || suspect.gone) continue;
    const bool directory = listing->exists && listing->self.metadata.type == NodeType::kDirectory;
    const bool excluded = listing->exists && host_.selection->Excludes(suspect.path, directory);
    if (!listing->error.empty()) {
      suspect.what = "not compared: " + listing->error;
      suspect.unreadable = true;
    } else if (suspect.source && listing->exists && !excluded) {
      suspect.pair.emplace();
      suspect.pair->name = suspect.name;
      suspect.pair->path = suspect.path;
      suspect.pair->source = *suspect.source;
      suspect.pair->target = std::move(listing->self);
    } else if (suspect.source) {
      suspect.what = "missing on the target";
    } else if (listing->exists && !excluded) {
      suspect.what = absl::StrCat("only on the target (", std::string(TypeName(listing->self.metadata.type)), ")");
    }
  }
  return absl::OkStatus();
}

void Verifier::Judge(Suspect* suspect) {
  suspect->moved = suspect->pair->moved;
  if (suspect->moved) return;
  const Comparison& comparison = suspect->pair->comparison;
  if (!suspect->pair->failure.ok()) {
    suspect->what = "not compared: " + std::string(suspect->pair->failure.message());
    suspect->unreadable = true;
    return;
  }
  suspect->what = comparison.what;
  suspect->kind = comparison.kind      ? Repair::Kind::kPlace
                  : comparison.content ? Repair::Kind::kContent
                                       : Repair::Kind::kMetadata;
}

absl::Status Verifier::JudgeLinks(Suspect* suspect) {
  if (suspect->moved) return absl::OkStatus();
  const auto node = host_.tree->Look(suspect->other->name);
  const auto place = host_.tree->Locate(suspect->other->name.dir);
  if (!node.ok() || !*node || !place.ok() || place->kind != os::Tree::Place::Kind::kInside) return absl::OkStatus();
  const std::string path = model::JoinPath(place->path, suspect->other->name.name);
  const auto listing = TakeListing(AskFor(path, /*children=*/false, 0));
  if (!listing.ok()) return listing.status();
  if (!listing->exists) return absl::OkStatus();
  const bool here = (*node)->id == suspect->source->id;
  const bool there = listing->self.inode == suspect->pair->target.inode;
  if (here == there) return absl::OkStatus();
  suspect->what = absl::StrCat(here ? "a hard link of " : "no hard link of ", model::QuotePath(path), ", on the target it is ",
                               here ? "another file" : "one");
  suspect->kind = Repair::Kind::kPlace;
  return absl::OkStatus();
}

}  // namespace fanmirror::replicate
