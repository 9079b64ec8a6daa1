#include "replicate/verifier.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "model/failure.h"
#include "model/path.h"
#include "replicate/name_hash.h"
#include "scan/directory.h"

namespace fanmirror::replicate {

using model::Failure;
using model::NodeType;
using model::Reaction;

namespace {

// Listings that the target is asked for ahead, so that a long round trip does not count for each directory.
constexpr std::size_t kListingsAhead = 16;
// What is looked at again together: one wait for all that is pending serves so many.
constexpr std::size_t kMaxSuspects = 1'000;
constexpr absl::Duration kTellInterval = absl::Seconds(1);
// The longest sleep of a verification that keeps a rate: whoever gives it up does not wait longer.
constexpr absl::Duration kLongestPause = absl::Milliseconds(200);

}  // namespace

absl::StatusOr<VerifyCounts> Verifier::Run() {
  began_ = told_ = absl::Now();
  auto reader = EntryReader::Create({.tree = host_.tree,
                                     .selection = host_.selection,
                                     .inquiries = host_.inquiries,
                                     .content = options_.content,
                                     .bytes_per_second = options_.bytes_per_second,
                                     .abandoned = options_.abandoned,
                                     .pace = [this](std::uint64_t bytes) {
                                       counts_.hashed_bytes += bytes;
                                       return Pace();
                                     }});
  if (!reader.ok()) return reader.status();
  reader_ = *std::move(reader);
  absl::Status status = CompareRoot();
  if (status.ok()) status = Walk();
  if (status.ok()) status = Resolve();
  if (!status.ok()) return status;
  counts_.links_left_out = links_.left_out();
  return counts_;
}

absl::Status Verifier::CompareRoot() {
  const auto node = host_.tree->LookNode(host_.tree->root());
  if (!node.ok()) return node.status();
  if (!*node) return Failure(Reaction::kHaltJob, "the source is gone");
  const auto listing = TakeListing(AskFor("", /*children=*/false, 0));
  if (!listing.ok()) return listing.status();
  if (!listing->error.empty()) return Unreadable("", Failure(listing->reaction, listing->error));
  std::vector<Pair> pairs(1);
  pairs[0].source = **node;
  pairs[0].target = listing->self;
  Directory above;
  above.id = host_.tree->root();
  return CompareNames(above, std::move(pairs), {""});
}

absl::Status Verifier::Walk() {
  stack_.push_back({host_.tree->root(), "", {}, 0});
  while (!stack_.empty() || !asked_.empty()) {
    for (; !stack_.empty() && asked_.size() < kListingsAhead; stack_.pop_back()) {
      stack_.back().inquiry = AskFor(stack_.back().path, /*children=*/true, 0);
      asked_.push_back(std::move(stack_.back()));
    }
    const Directory directory = std::move(asked_.front());
    asked_.pop_front();
    if (absl::Status status = CompareDirectory(directory); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status Verifier::CompareDirectory(const Directory& directory) {
  seen_.clear();
  std::uint64_t inquiry = directory.inquiry;
  for (;;) {
    const auto listing = TakeListing(inquiry);
    if (!listing.ok()) return listing.status();
    if (!listing->error.empty()) return Unreadable(directory.path, Failure(listing->reaction, listing->error));
    if (!listing->exists || listing->self.metadata.type != NodeType::kDirectory) {
      const auto node = SourceNode(directory.name);
      if (!node.ok()) return Unreadable(directory.path, node.status());
      Suspect suspect;
      suspect.name = directory.name;
      suspect.path = directory.path;
      suspect.source = *node;
      return Suspecting(std::move(suspect));
    }
    if (!listing->last) inquiry = AskFor(directory.path, /*children=*/true, listing->next);
    const std::size_t seen = seen_.size();
    if (absl::Status status = ComparePage(directory, *listing); !status.ok()) return status;
    const bool endless = seen_.size() > kMaxNames || (!listing->last && seen_.size() == seen);
    if (endless) {
      return Failure(Reaction::kReconnect, "the target lists no end of names in " + model::QuotePath(directory.path));
    }
    if (absl::Status status = Pace(); !status.ok()) return status;
    if (listing->last) return FindMissing(directory);
  }
}

absl::Status Verifier::ComparePage(const Directory& directory, const wire::Listing& listing) {
  std::vector<Pair> pairs;
  std::vector<std::string> names;
  for (const wire::ListedEntry& entry : listing.entries) {
    const std::string path = model::JoinPath(directory.path, entry.name);
    if (!seen_.insert(HashName(entry.name)).second) continue;
    if (host_.selection->Excludes(path, entry.metadata.type == NodeType::kDirectory)) continue;
    const auto node = host_.tree->Look({directory.id, entry.name});
    if (!node.ok()) {
      if (absl::Status status = Unreadable(path, node.status()); !status.ok()) return status;
      continue;
    }
    const bool ours = *node && !host_.selection->Excludes(path, (*node)->metadata.type == NodeType::kDirectory);
    if (!ours) {
      Suspect suspect;
      suspect.name = {directory.id, entry.name};
      suspect.path = path;
      if (absl::Status status = Suspecting(std::move(suspect)); !status.ok()) return status;
      continue;
    }
    Pair pair;
    pair.name = {directory.id, entry.name};
    pair.path = path;
    pair.source = **node;
    pair.target = entry;
    pairs.push_back(std::move(pair));
    names.push_back(entry.name);
  }
  return CompareNames(directory, std::move(pairs), names);
}

absl::Status Verifier::CompareNames(const Directory& directory, std::vector<Pair> pairs,
                                    const std::vector<std::string>& names) {
  if (absl::Status status = reader_->Compare(&pairs); !status.ok()) return status;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const Pair& pair = pairs[i];
    ++counts_.compared;
    counts_.hashed += pair.hashed;
    Suspect suspect;
    suspect.name = {directory.id, names[i]};
    suspect.path = pair.path;
    suspect.source = pair.source;
    const bool directories =
        pair.source.metadata.type == NodeType::kDirectory && pair.target.metadata.type == NodeType::kDirectory;
    if (directories && !names[i].empty()) stack_.push_back({pair.source.id, pair.path, suspect.name, 0});
    if (!directories) {
      suspect.other = links_.Conflict({suspect.name, pair.path, pair.source.id, pair.source.metadata.links,
                                       pair.target.inode, pair.target.metadata.links});
    }
    if (!pair.comparison.any() && !pair.moved && pair.failure.ok() && !suspect.other) continue;
    if (absl::Status status = Suspecting(std::move(suspect)); !status.ok()) return status;
  }
  return absl::OkStatus();
}

// What the source has in the directory and the target's listing did not have. Nothing holds the directory while it is looked
// into: whoever listens may take any time.
absl::Status Verifier::FindMissing(const Directory& directory) {
  std::vector<std::string> missing;
  const absl::Status listed =
      scan::ForEachName(*host_.tree, *host_.selection, directory.id, directory.path, [&](const std::string& name) {
        if (!seen_.contains(HashName(name))) missing.push_back(name);
        return true;
      });
  if (!listed.ok()) return Unreadable(directory.path, listed);
  for (const std::string& name : missing) {
    const std::string path = model::JoinPath(directory.path, name);
    const auto node = host_.tree->Look({directory.id, name});
    absl::Status status;
    if (!node.ok()) {
      status = Unreadable(path, node.status());
    } else if (*node) {
      Suspect suspect;
      suspect.name = {directory.id, name};
      suspect.path = path;
      suspect.source = **node;
      status = Suspecting(std::move(suspect));
    }
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status Verifier::Suspecting(Suspect suspect) {
  suspects_.push_back(std::move(suspect));
  return suspects_.size() < kMaxSuspects ? absl::OkStatus() : Resolve();
}

// What cannot be read is not shown to be equal.
absl::Status Verifier::Unreadable(const std::string& path, const absl::Status& status) {
  ++counts_.differences;
  return Tell({.path = path, .what = "not compared: " + std::string(status.message()), .repaired = false});
}

absl::Status Verifier::Tell(const Difference& difference) const {
  return options_.differs(difference) ? absl::OkStatus() : GivenUp();
}

absl::Status Verifier::GivenUp() { return Failure(Reaction::kHaltJob, "the verification was given up"); }

absl::StatusOr<std::optional<model::Node>> Verifier::SourceNode(const model::Name& name) const {
  return name.name.empty() ? host_.tree->LookNode(host_.tree->root()) : host_.tree->Look(name);
}

std::uint64_t Verifier::AskFor(const std::string& path, bool children, std::uint64_t after) {
  return host_.inquiries->Ask(wire::List{0, path, children, after, /*digests=*/true, /*one_page=*/true});
}

absl::StatusOr<wire::Listing> Verifier::TakeListing(std::uint64_t inquiry) {
  auto answer = host_.inquiries->Await(inquiry, options_.abandoned);
  if (!answer.ok()) return answer.status();
  auto* listing = std::get_if<wire::Listing>(&*answer);
  if (listing == nullptr) return Failure(Reaction::kReconnect, "the target answered another question");
  return std::move(*listing);
}

absl::Status Verifier::Pace() {
  for (;;) {
    if (options_.abandoned()) return GivenUp();
    const absl::Time now = absl::Now();
    if (now - told_ >= kTellInterval) {
      told_ = now;
      if (!options_.progress(counts_)) return GivenUp();
    }
    absl::Time due = began_;
    const auto wait_for = [&](std::uint64_t done, std::uint64_t rate) {
      if (rate != 0) due = std::max(due, began_ + absl::Seconds(static_cast<double>(done) / static_cast<double>(rate)));
    };
    wait_for(counts_.compared, options_.names_per_second);
    wait_for(counts_.hashed_bytes, options_.bytes_per_second);
    if (now >= due) return absl::OkStatus();
    absl::SleepFor(std::min(due - now, kLongestPause));
  }
}

}  // namespace fanmirror::replicate
