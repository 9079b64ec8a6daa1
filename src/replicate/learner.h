#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "catalogue/catalogue.h"
#include "catalogue/expected.h"
#include "model/change.h"
#include "os/tree.h"
#include "scan/walk.h"
#include "wire/messages.h"

namespace fanmirror::replicate {

// Corrects the catalogue by what the target says that it holds: after ops of unknown outcome, and for a target that holds
// data already. Where source and target have the same kind of node under a name (files: of equal size and mtime) they are
// taken for the same, with the metadata to be sent again; all else of the target becomes foreign nodes. What the selection
// excludes is left out, and so never touched. Used by the planning thread; blocks for the answers.
class Learner {
 public:
  // Asks the receiver; calls `frame` for each frame of the answer.
  using List = std::function<absl::Status(const std::string& path, bool children,
                                          const std::function<absl::Status(const wire::Listing&)>& frame)>;
  Learner(const os::Tree* tree, const scan::Selection* selection, catalogue::Catalogue* catalogue, List list)
      : tree_(tree), selection_(selection), catalogue_(catalogue), list_(std::move(list)), view_(catalogue) {}

  // The catalogue forgets everything and learns the whole target.
  absl::Status LearnAll();
  // One place, and all below it when `recursive` (or when the catalogue knows nothing there).
  absl::Status LearnPlace(const std::string& path, bool recursive);
  // The right node lies there, but its metadata or (`content`) its content is not what the catalogue says.
  absl::Status DoubtNode(const std::string& path, bool content);
  // Commits the rest of what LearnPlace and DoubtNode corrected; nothing is sure before. (LearnAll does it itself.)
  absl::Status Finish() { return Flush(1); }
  // Where the source must be looked at again, because the catalogue was corrected there.
  const std::vector<model::Change>& changes() const { return changes_; }

 private:
  struct Directory {
    model::FileId id;
    std::string path;
  };
  absl::Status LearnDirectories(std::vector<Directory> stack);
  absl::Status LearnEntry(const Directory& dir, const wire::ListedEntry& entry, std::vector<Directory>* stack);
  absl::StatusOr<model::FileId> Identify(const Directory& dir, const wire::ListedEntry& entry);
  std::optional<model::FileId> FindDirectory(const std::string& path) const;
  void Forget(const model::Name& name);
  void Add(catalogue::Effect effect);
  absl::Status Flush(std::size_t at_least);

  const os::Tree* tree_;
  const scan::Selection* selection_;
  catalogue::Catalogue* catalogue_;
  List list_;
  catalogue::Expected view_;  // the catalogue with what is corrected and not committed yet
  std::vector<catalogue::Effect> effects_;
  std::vector<model::Change> changes_;
  // Of nodes with several names: which node of the target they are.
  absl::flat_hash_map<model::FileId, std::uint64_t> inode_of_;
  absl::flat_hash_map<std::uint64_t, model::FileId> id_of_;
};

}  // namespace fanmirror::replicate
