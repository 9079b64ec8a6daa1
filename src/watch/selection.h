#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "watch/event_map.h"
#include "watch/subscription.h"

namespace fanmirror::watch {

// Picks the changes that one subscription wants, and collects them until Flush. A directory's place is asked
// for once and remembered, and so is that a file outside has no other name; so an event outside the source or in
// an excluded directory costs a look-up or two. When in doubt a change is passed on: looking in vain does no harm.
// Not thread-safe: lives on the watcher's thread.
class Selection {
 public:
  explicit Selection(Subscription subscription);

  void Offer(const Candidate& candidate);
  // The filesystem found this node damaged: its content may be another, and if it is a directory what is in it.
  void OfferDamaged(const model::FileId& node);
  // A directory was renamed: every path below it, unknown to us which, is another.
  void ForgetPlaces() { verdicts_.clear(); }
  void ForgetPlace(const model::FileId& dir) { verdicts_.erase(dir); }

  // Gives what was collected to `changed`.
  void Flush();
  void Lost();

 private:
  enum class Where { kOutside, kExcluded, kInside, kUnknown };
  // Of a directory. The path is relative to the source root, and kInside only.
  struct Verdict {
    Where where = Where::kUnknown;
    std::string path;
  };
  enum class Answer { kNo, kYes, kPerhaps };
  // Whether what lies in such a directory may be selected.
  static bool MayHold(Where where) { return where == Where::kInside || where == Where::kUnknown; }

  Answer Selects(const EventPlace& place);
  std::optional<std::string_view> PathOf(const EventPlace& place);
  bool SelectsLikewiseBelow(const Candidate& tree);
  bool SelectsNode(const model::FileId& id) const;
  bool HasOtherNames(const model::FileId& id);
  bool SelectsPath(std::string_view path, bool is_directory) const;
  bool IsIgnored(std::string_view path) const;
  const Verdict& VerdictOf(const model::FileId& dir);
  // The verdict, and whether it stays true until a directory is renamed.
  std::pair<Verdict, bool> Locate(const model::FileId& dir) const;
  void Add(const Candidate& candidate);
  void AddDirectoryOf(const EventPlace& place);

  const Subscription subscription_;
  std::vector<std::string> ignored_;
  absl::flat_hash_map<model::FileId, Verdict> verdicts_;
  absl::flat_hash_set<model::FileId> single_;  // had one name when looked at, and got no other since
  Verdict passing_;   // the last verdict that was not worth remembering
  std::string path_;  // kept for its memory
  std::vector<model::Change> changes_;
  absl::flat_hash_map<std::pair<model::Change::Kind, std::pair<model::FileId, std::string>>, std::size_t>
      index_;
};

}  // namespace fanmirror::watch
