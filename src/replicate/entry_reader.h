#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "os/tree.h"
#include "read/reader.h"
#include "replicate/comparison.h"
#include "replicate/inquiries.h"
#include "scan/walk.h"

namespace fanmirror::replicate {

// One name that both sides have, and how it differs.
struct Pair {
  model::Name name;  // on the source; its name empty: the root
  std::string path;  // on both sides
  model::Node source;
  wire::ListedEntry target;
  // Set by EntryReader::Compare.
  Comparison comparison;
  absl::Status failure;  // not OK: one of the sides could not be read, nothing is concluded
  bool moved = false;    // the source's node is another by now, or gone: nothing is concluded
  bool hashed = false;
};

// Reads what listings do not tell, many nodes at a time on both sides, and compares. One thread; blocks.
class EntryReader {
 public:
  struct Options {
    const os::Tree* tree = nullptr;
    const scan::Selection* selection = nullptr;
    Inquiries* inquiries = nullptr;
    bool content = false;                // regular files of equal size are hashed on both sides
    std::uint64_t bytes_per_second = 0;  // so fast may the target read; 0: no limit
    std::function<bool()> abandoned;
    // After so many bytes of content were read here: keeps the rate. An error: given up.
    std::function<absl::Status(std::uint64_t bytes)> pace;
  };
  // All that `options` hold outlives the reader.
  static absl::StatusOr<std::unique_ptr<EntryReader>> Create(Options options);

  // An error: the target cannot be asked any more, or it was given up; then the reader is of no more use.
  absl::Status Compare(std::vector<Pair>* pairs);

 private:
  EntryReader(Options options, std::unique_ptr<read::Reader> reader)
      : options_(std::move(options)), reader_(std::move(reader)) {}
  bool Hashes(const Pair& pair) const;
  absl::Status ComparePair(Pair* pair);
  absl::Status ReadSource(Pair* pair, std::optional<SourceEntry>* out);
  absl::StatusOr<std::optional<model::ContentHash>> TakeTargetHash(Pair* pair);

  const Options options_;
  std::unique_ptr<read::Reader> reader_;
  std::deque<std::uint64_t> asked_;  // for hashes, in the order of the pairs
};

}  // namespace fanmirror::replicate
