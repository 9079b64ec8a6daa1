#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "catalogue/catalogue.h"
#include "catalogue/expected.h"
#include "model/change.h"
#include "os/tree.h"
#include "scan/walk.h"
#include "wire/messages.h"

namespace fanmirror::replicate {

// For a node of the target that is none of the source's.
model::FileId NewForeign();

// Corrects the catalogue by what the target says that it holds: after ops of unknown outcome, and for a target that holds
// data already. Where source and target have the same kind of node under a name (files: of equal size and mtime) they are
// taken for the same, with the metadata to be sent again; all else of the target becomes foreign nodes. What the selection
// excludes is left out, and so never touched. Used by the planning thread; blocks for the answers.
class Learner {
 public:
  // Sends the receiver a question. Many are asked ahead, so that a place does not cost a round trip; never more than
  // kMostAhead.
  using Ask = std::function<void(const std::string& path, bool children)>;
  // Blocks for the answer to the oldest question that has none yet, and calls `frame` for each of its frames.
  using Answer = std::function<absl::Status(const std::function<absl::Status(const wire::Listing&)>& frame)>;
  // Takes where the source must be looked at again, because the catalogue is corrected there; durably, before it is.
  using Note = std::function<absl::Status(absl::Span<const model::Change> changes)>;
  static constexpr std::size_t kMostAhead = 512;
  Learner(const os::Tree* tree, const scan::Selection* selection, catalogue::Catalogue* catalogue, Ask ask, Answer answer,
          Note note)
      : tree_(tree),
        selection_(selection),
        catalogue_(catalogue),
        ask_(std::move(ask)),
        answer_(std::move(answer)),
        note_(std::move(note)),
        view_(catalogue) {}

  // What a catalogue says of regular files of the source that did not change since (equal ctime): a hash for each.
  using Vouched = absl::flat_hash_set<std::uint64_t>;
  static Vouched VouchedBy(const catalogue::View& catalogue, const model::FileId& root);

  // The catalogue forgets everything and learns the whole target. `vouched`: ops of unknown outcome were under way there, so
  // equal size and mtime do not prove the content of a file that changed since the catalogue was last sure of it; null: they
  // do.
  absl::Status LearnAll(const Vouched* vouched = nullptr);
  // Places by their paths; true: with all below (which is learnt also where the catalogue knows nothing). Paths that are too
  // long to be sent are left out.
  absl::Status LearnPlaces(std::map<std::string, bool> places);
  // The right node lies there, but its metadata or (`content`) its content is not what the catalogue says. False: the
  // catalogue or the source has another node there, so the place is to be learnt. What was corrected is committed by
  // LearnPlaces.
  absl::StatusOr<bool> DoubtNode(const std::string& path, bool content);

 private:
  struct Directory {
    model::FileId id;
    std::string path;
  };
  // What the target has at a place, or why it cannot tell.
  struct Self {
    std::optional<wire::ListedEntry> entry;
    absl::Status status;
  };
  absl::Status TakeSelf(const std::string& path, Self* self);
  absl::Status LearnPlace(const std::string& path, bool recursive, const Self& target);
  absl::Status LearnDirectories(std::vector<Directory> stack);
  absl::StatusOr<std::size_t> LearnListing(const Directory& dir, std::vector<Directory>* stack);
  absl::Status Enter(Directory dir, std::vector<Directory>* stack);
  absl::Status LearnEntry(const Directory& dir, const wire::ListedEntry& entry, std::vector<Directory>* stack);
  absl::StatusOr<model::FileId> Identify(const Directory& dir, const wire::ListedEntry& entry);
  bool IsVouchedFor(const model::Node& node) const;
  std::optional<model::FileId> FindDirectory(const std::string& path) const;
  // What is believed to lie at `name` (there is something), and below it.
  void Forget(const model::Name& name);
  bool GoesWithItsName(const model::FileId& id) const;
  void ForgetBelow(const model::FileId& dir);
  void DropName(const model::Name& name);
  void Add(catalogue::Effect effect);
  absl::Status Flush(std::size_t at_least);
  absl::Status NoteChanges();
  // Commits the rest of what was corrected.
  absl::Status Finish();

  const os::Tree* tree_;
  const scan::Selection* selection_;
  catalogue::Catalogue* catalogue_;
  Ask ask_;
  Answer answer_;
  Note note_;
  const Vouched* vouched_ = nullptr;
  catalogue::Expected view_;  // the catalogue with what is corrected and not committed yet
  std::vector<catalogue::Effect> effects_;
  std::vector<model::Change> changes_;        // not noted yet
  absl::flat_hash_set<model::FileId> noted_;  // directories of the source that are or were in changes_
  std::size_t waiting_bytes_ = 0;             // of the directories that are still to be listed
  // Of nodes with several names: which node of the target they are.
  absl::flat_hash_map<model::FileId, std::uint64_t> inode_of_;
  absl::flat_hash_map<std::uint64_t, model::FileId> id_of_;
};

}  // namespace fanmirror::replicate
