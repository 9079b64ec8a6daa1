#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "model/metadata.h"
#include "model/name.h"
#include "os/tree.h"
#include "select/filter.h"

namespace fanmirror::scan {

// An entry of a directory as it was seen.
struct Found {
  model::Name name;
  std::string path;  // relative to the source root at the time of the walk; for the filter and for messages
  model::Node node;
};

// What of a source belongs to the job: not what the filter excludes, nor the ignored subtrees, nor the name
// ".fanmirror" at the root.
struct Selection {
  select::Filter filter;
  std::vector<std::string> ignored;  // paths relative to the source root
  bool Excludes(std::string_view path, bool is_directory) const;             // this very entry
  bool ExcludesWithParents(std::string_view path, bool is_directory) const;  // or one of its parents
};

// Lists a directory tree in bounded steps: each directory's entries before anything below them. Directories are
// opened by id, so one that is moved meanwhile is still listed. Used by one thread. What finds the same in another way (from
// a filesystem's own tables, say) is another Walk.
class Walk {
 public:
  // Begins at directory `dir` (its own entry is not given), which lies at `path` below the source root ("": the root).
  // `threads`: 1: nothing runs but inside Next, and directories come in depth-first order. More: so many threads of the walk
  // list and look ahead of Next, bounded, and each up to kChunkNames entries of a directory come in the order of their inodes.
  // `tree` and `selection` outlive the walk.
  static std::unique_ptr<Walk> Begin(const os::Tree* tree, const Selection* selection, const model::FileId& dir,
                                     std::string path, int threads);
  // Ends its threads; blocks on what they are asking the filesystem.
  virtual ~Walk() = default;

  struct Step {
    std::vector<Found> found;            // entries that belong to the job
    std::vector<model::FileId> listed;   // directories whose every entry has been given by now (this step or before)
    std::vector<std::pair<std::string, absl::Status>> unreadable;  // path and error: nothing may be concluded of what is below
    std::uint64_t seen = 0;              // entries listed, the excluded ones included
    std::int64_t begun_ns = 0;           // os::BoottimeNs() before the first look at any of `found`
    bool done = false;
  };
  // The next entries, about `max` of them. Blocks on the filesystem.
  virtual Step Next(std::size_t max) = 0;
};

// Counts what a walk of the whole source would give; for the time left that a progress line shows. Blocks; stops early
// when `stop` becomes true.
struct Total {
  std::uint64_t files = 0;  // all but directories
  std::uint64_t bytes = 0;  // of regular files
};
Total Count(const os::Tree& tree, const Selection& selection, const std::atomic<bool>& stop);

}  // namespace fanmirror::scan
