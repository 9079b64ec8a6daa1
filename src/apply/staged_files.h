#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "apply/root.h"
#include "apply/staging.h"
#include "model/op.h"
#include "os/unique_fd.h"

namespace fanmirror::apply {

// A file that is complete in the staging area: content verified, metadata set.
struct StagedFile {
  model::Op op;
  std::uint32_t index = 0;  // of the op in its batch
  std::string name;         // in the staging area
  os::UniqueFd fd;
  std::uint64_t bytes = 0;
};

// Complete files that wait for their data before they get their names: a power cut must not leave a name with
// zeros where the journal had the size and the disk not yet the data. They are written many at a time,
// because to wait for each alone costs a disk's latency a file. What makes them durable is the sync of their
// batch.
class StagedFiles {
 public:
  // Files that are written at a time: enough to keep a disk busy, and few descriptors.
  static constexpr std::size_t kMaxFiles = 256;
  // Their bytes: about what a disk writes in a second, so that the waiting is no pause.
  static constexpr std::uint64_t kMaxBytes = std::uint64_t{64} << 20;

  StagedFiles(Root* root, Staging* staging) : root_(root), staging_(staging) {}
  // What has no name yet is removed.
  ~StagedFiles();

  // Starts to write the file. Its path must not be touched by one that waits (Touches).
  void Add(StagedFile file);
  bool full() const { return files_.size() >= kMaxFiles || bytes_ >= kMaxBytes; }
  // Whether the outcome of `op` depends on a file that waits: at, above or below one of its paths.
  bool Touches(const model::Op& op) const;
  // Blocks until the data of all is written, and gives them their names. What failed is told, and removed.
  void Place(const std::function<void(const StagedFile&, const absl::Status&)>& failed);

 private:
  absl::Status PlaceOne(const StagedFile& file);

  Root* root_;
  Staging* staging_;
  std::vector<StagedFile> files_;  // as they came
  std::set<std::string, std::less<>> paths_;
  std::uint64_t bytes_ = 0;
};

}  // namespace fanmirror::apply
