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

namespace fanmirror::replicate {

// One name that both sides have, and how it differs.
struct Pair {
  std::string path;  // on the target
  model::Node source;
  wire::ListedEntry target;
  // Set by EntryReader::Compare.
  Comparison comparison;
  absl::Status failure;  // not OK: one of the sides could not be read, nothing is concluded
  bool moved = false;    // the source's node is another by now, or gone: nothing is concluded
  std::uint64_t hashed_bytes = 0;
  bool hashed = false;
};

// Reads what listings do not tell, many nodes at a time on both sides, and compares. One thread; blocks.
class EntryReader {
 public:
  // `content`: regular files of equal size are hashed on both sides. All outlive the reader.
  static absl::StatusOr<std::unique_ptr<EntryReader>> Create(const os::Tree* tree, Inquiries* inquiries, bool content,
                                                             std::function<bool()> abandoned);

  // An error: the target cannot be asked any more, or it was given up.
  absl::Status Compare(std::vector<Pair>* pairs);

 private:
  EntryReader(std::unique_ptr<read::Reader> reader, Inquiries* inquiries, bool content, std::function<bool()> abandoned)
      : reader_(std::move(reader)), inquiries_(inquiries), content_(content), abandoned_(std::move(abandoned)) {}
  bool Hashes(const Pair& pair) const;
  void ReadSource(Pair* pair, std::optional<SourceEntry>* out);
  absl::StatusOr<std::optional<model::ContentHash>> TakeTargetHash(Pair* pair);

  std::unique_ptr<read::Reader> reader_;
  Inquiries* inquiries_;
  const bool content_;
  std::function<bool()> abandoned_;
  std::deque<std::uint64_t> asked_;  // for hashes, in the order of the pairs
};

}  // namespace fanmirror::replicate
