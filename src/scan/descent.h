#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "model/file_id.h"
#include "os/entries.h"
#include "os/tree.h"
#include "os/unique_fd.h"

namespace fanmirror::scan {

// The order of a walk: one directory is open at a time and listed to its end, then comes a directory that was
// found last, so that what waits is at most the siblings of the directories on one path. Neither recursion
// nor paths take part in opening, so depth is not limited. One thread.
class Descent {
 public:
  Descent(const os::Tree* tree, const model::FileId& dir, std::string path);

  enum class Event {
    kEntry,       // entry() and its path() are valid until the next call
    kListed,      // the open directory has no more entries
    kUnreadable,  // the directory at path() could not be opened or listed to its end: error()
    kGone,        // a directory was gone when its turn came
    kDone
  };
  Event Next();

  // The directory below `entry()`'s name joins what is to be listed.
  void Push(const model::FileId& id, const std::string& name);

  const model::FileId& dir() const { return dir_; }
  int dir_fd() const { return fd_.get(); }
  const os::Entries::Entry& entry() const { return entry_; }
  // Relative to the source root: of the entry after kEntry, else of the directory.
  const std::string& path() const { return path_; }
  std::string DirPath() const { return path_.substr(0, dir_length_); }
  const absl::Status& error() const { return error_; }

 private:
  // The directories found in one directory that wait for their turn. Its path is the first `path_length`
  // bytes of path_ as long as it is the last of waiting_: whatever was visited since lies below it.
  struct Siblings {
    std::size_t path_length = 0;
    std::vector<std::pair<model::FileId, std::string>> dirs;
  };

  Event OpenNext();
  Event Fail(absl::Status error);
  void AppendToPath(const char* name);

  const os::Tree* tree_;
  std::string path_;
  std::size_t dir_length_;
  model::FileId dir_;
  os::UniqueFd fd_;  // open while dir_ is being listed
  os::Entries entries_;
  os::Entries::Entry entry_;
  std::vector<Siblings> waiting_;
  bool pushed_ = false;  // the last of waiting_ holds directories of dir_
  bool started_ = false;
  absl::Status error_;
};

}  // namespace fanmirror::scan
