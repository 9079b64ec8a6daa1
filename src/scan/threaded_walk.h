#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "os/entries.h"
#include "os/tree.h"
#include "os/unique_fd.h"
#include "scan/walk.h"

namespace fanmirror::scan {

// A walk whose threads list and look ahead of the one that asks. A piece of work is a directory to be listed,
// or a chunk of the names of one: so a single huge directory keeps all threads busy, too. Looks at a chunk go
// in the order of inodes, in which filesystems keep them, and the catalogue what is compared with them.
class ThreadedWalk : public Walk {
 public:
  // Names of one directory that are looked at together.
  static constexpr std::size_t kChunkNames = 1'024;
  // Bytes of their paths, beyond which a chunk is shorter: paths may be far longer than PATH_MAX.
  static constexpr std::size_t kChunkPathBytes = std::size_t{1} << 20;
  // Results, and chunks of names, for each thread that may wait: enough to go on while the one that asks
  // compares.
  static constexpr std::size_t kWaitingForEach = 4;

  ThreadedWalk(const os::Tree* tree, const Selection* selection, const model::FileId& dir, std::string path,
               int threads);
  ~ThreadedWalk() override;

  Step Next(std::size_t max) override;

 private:
  // A directory that was found and waits for its turn. Siblings share what their paths begin with.
  struct Waiting {
    model::FileId id;
    std::shared_ptr<const std::string> parent;  // its path; null: `name` is the whole path
    std::string name;
    std::string Path() const;
  };
  struct Directory {
    model::FileId id;
    std::shared_ptr<const std::string> path;
    os::UniqueFd fd;
    // Under the walk's mutex:
    std::size_t parts = 1;  // chunks whose result is not in steps_, and one more until all are known
    bool whole = true;      // every entry was given so far
  };
  struct Name {
    std::uint64_t inode = 0;
    std::string name;
    unsigned char type = 0;  // DT_*
  };
  struct Chunk {
    std::shared_ptr<Directory> directory;
    std::vector<Name> names = {};
    std::size_t path_bytes = 0;
  };
  // What came of a chunk, or of trying to list a directory.
  struct Result {
    Step step = {};
    std::vector<Waiting> directories = {};
    absl::Status failed;  // of an entry: its directory is not whole
  };

  void Work();
  void List(const Waiting& waiting, os::Entries* entries);
  void ListNames(const std::shared_ptr<Directory>& directory, os::Entries* entries);
  // Gives the chunk to whoever is free, or looks at it here when very many wait; blocks while there is no
  // room for results either. False: the walk ends.
  bool HandOver(Chunk chunk);
  void Look(Chunk chunk);
  // `directory`: one of whose parts this was.
  void Deliver(Result result, Directory* directory);
  bool HasWork() const { return !chunks_.empty() || !directories_.empty(); }
  bool HasEnded() const { return busy_ == 0 && !HasWork() && steps_.empty(); }

  const os::Tree* const tree_;
  const Selection* const selection_;
  const std::size_t most_waiting_;  // of steps_ and of chunks_

  std::mutex mutex_;
  std::condition_variable work_;   // there is some, or room for its result, or it is over
  std::condition_variable ready_;  // a step is there, or it is over
  // The last is the next: what waits is then about the siblings on the way down.
  std::vector<Waiting> directories_;
  std::deque<Chunk> chunks_;
  std::deque<Step> steps_;  // a directory's entry is always before what is below it
  std::size_t busy_ = 0;    // threads at work
  bool stopping_ = false;

  Step current_;           // of the thread that asks: what of a step was not given yet
  std::size_t given_ = 0;  // of current_.found
  std::vector<std::thread> threads_;
};

}  // namespace fanmirror::scan
