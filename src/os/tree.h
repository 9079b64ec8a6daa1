#pragma once

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "model/metadata.h"
#include "model/name.h"
#include "os/tree_stale.h"
#include "os/unique_fd.h"

namespace fanmirror::os {

// A directory tree of one filesystem, reached by file handles. It stands on a private clone of the mount
// (open_tree(2) with OPEN_TREE_CLONE, rooted at the directory), so that it sees no other filesystem mounted
// below, and does not keep a user's umount from succeeding. Needs CAP_SYS_ADMIN and CAP_DAC_READ_SEARCH.
// All calls block on the filesystem only. Thread-safe.
class Tree {
 public:
  // `path`: an existing directory; symlinks in it are followed, this once.
  static absl::StatusOr<std::unique_ptr<Tree>> Open(const std::string& path);

  const model::FileId& root() const { return root_; }
  int root_fd() const { return root_fd_.get(); }

  // A descriptor of the node, wherever it lies on the filesystem. `flags` as of open(2); O_NOFOLLOW and
  // O_CLOEXEC are added. nullopt when the node is gone: no name left, though it may still be open somewhere.
  // What only seems gone because its filesystem was shut down is an error.
  absl::StatusOr<std::optional<UniqueFd>> OpenNode(const model::FileId& id, int flags) const;
  // The same for listing it (O_RDONLY, without an atime). nullopt also for what lives and is no directory: it has no
  // entries, and whoever asks took it for one.
  absl::StatusOr<std::optional<UniqueFd>> OpenDirectory(const model::FileId& id) const;

  // Where a node that `fd` has open lies below the root ("": it is the root), as it was at one moment of the call: no rename
  // of whatever directory is seen half (but where the path is longer than PATH_MAX). nullopt: not below the root, or not
  // known, which is so for what is no directory and was opened by its id when the kernel had no name of it in its cache,
  // or met another one of its names.
  absl::StatusOr<std::optional<std::string>> PathOfOpen(const model::FileId& id, int fd) const;
  // The same by a name that the node may have.
  absl::StatusOr<std::optional<std::string>> PathByName(const model::FileId& id, const model::Name& name) const;

  // What the entry is now; nullopt when the directory is gone or has no such entry.
  absl::StatusOr<std::optional<model::Node>> Look(const model::Name& name) const;
  // The same for an entry of an open directory (O_PATH will do).
  absl::StatusOr<std::optional<model::Node>> LookAt(int dir_fd, const std::string& name) const;

  // What the node is now; nullopt when it is gone.
  absl::StatusOr<std::optional<model::Node>> LookNode(const model::FileId& id) const;

  // Where a node lies below the root, verified by opening that path again. A directory always has a place;
  // for another node this succeeds only while the kernel has its name in the cache.
  struct Place {
    enum class Kind { kGone, kInside, kOutside, kUnknown };
    Kind kind = Kind::kGone;
    std::string path;  // kInside: relative to the root, "" for the root itself
    model::Name name;  // kInside, but for the root: its parent and its name there
  };
  absl::StatusOr<Place> Locate(const model::FileId& id) const;

 private:
  Tree() = default;
  // As OpenNode, but opens what has no name left, too.
  absl::StatusOr<std::optional<UniqueFd>> OpenHandle(const model::FileId& id, int flags) const;
  // O_PATH, for looking into it; nullopt as of OpenDirectory.
  absl::StatusOr<std::optional<UniqueFd>> HoldDirectory(const model::FileId& id) const;
  // What LookAt gives for an entry that is not there, if the filesystem can be asked at all.
  absl::StatusOr<std::optional<model::Node>> NoEntry() const;
  // As LookAt, by a descriptor of the node: certain, however often the entry changes.
  absl::StatusOr<std::optional<model::Node>> LookHeld(int dir_fd, const std::string& name) const;
  absl::StatusOr<std::optional<std::string>> PathInTheDepth(const model::FileId& dir, const std::string& rest) const;
  absl::StatusOr<Place> LocateByListing(const model::FileId& id, UniqueFd dir) const;

  UniqueFd root_fd_;
  std::unique_ptr<StaleCheck> stale_;  // set by Open
  model::FileId root_;
};

// statx as we want it, of `name` relative to `dir_fd` ("" with AT_EMPTY_PATH: the descriptor itself), never
// following a symlink. Returns 0 or an errno.
int StatAt(int dir_fd, const char* name, model::Metadata* out);

// The id of `name` relative to `dir_fd` ("": the descriptor itself), never following a symlink. Returns 0 or
// an errno; EOVERFLOW when the handle is larger than FileId takes, EOPNOTSUPP when the filesystem has none.
int IdAt(int dir_fd, const char* name, model::FileId* out);

}  // namespace fanmirror::os
