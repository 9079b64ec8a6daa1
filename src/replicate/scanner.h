#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "replicate/looker.h"
#include "replicate/proof.h"
#include "scan/walk.h"

namespace fanmirror::replicate {

// The walks that are due, one after the other, fed into looks in bounded steps. Used by the planning thread.
class Scanner {
 public:
  // `scan_threads`: of a walk of the whole source, from 1.
  Scanner(const os::Tree* tree, const scan::Selection* selection, int scan_threads)
      : tree_(tree), selection_(selection), scan_threads_(scan_threads) {}

  enum class Kind {
    kScan,      // of the whole source
    kDirectory  // of one that appeared
  };
  // `proof` is held until the walk is through (ReleaseFinished gives it back).
  void Start(Kind kind, const model::FileId& dir, const std::string& path, bool startup, ProofHandle proof);
  bool Idle() const { return walks_.empty(); }
  // Of the walk that Step goes on with; null when idle.
  ProofHandle Front() const { return walks_.empty() ? nullptr : walks_.front().proof; }
  // Whether a walk of this very directory is under way.
  bool Walks(const model::FileId& dir) const;
  void Clear() { walks_.clear(); }

  // Takes up to about `max` entries from the walk at the front into `looker`, or as many as bring it to `max_bytes`. Gives
  // the proof of the walk (these entries are part of it), null when idle. `looked_ns`: when names were looked at last for an
  // earlier round; what the walk saw before that is not believed where it differs.
  ProofHandle Step(std::size_t max, std::uint64_t max_bytes, std::int64_t looked_ns, Looker* looker);
  // Proofs of walks that came to their end.
  std::vector<ProofHandle> TakeFinished() { return std::exchange(finished_, {}); }

  std::uint64_t scans() const { return scans_; }          // begun
  std::uint64_t scanned() const { return scanned_; }      // entries listed by scans
  std::uint64_t listed() const { return listed_; }        // entries listed by other walks
  std::uint64_t unchanged() const { return unchanged_; }  // files that were like the target's

 private:
  struct Running {
    std::unique_ptr<scan::Walk> walk;
    Kind kind = Kind::kScan;
    model::FileId dir;
    bool startup = false;
    ProofHandle proof;
    std::deque<scan::Found> found;               // given by the walk and not taken yet
    std::int64_t found_ns = 0;                   // when the walk began to look at them
    std::vector<model::FileId> listed;           // take effect when `found` is empty
    absl::flat_hash_map<model::FileId, absl::flat_hash_set<std::uint64_t>> seen;  // of directories not listed whole yet
    bool done = false;
  };
  void Refill(Running* running, std::size_t max, Looker* looker);

  const os::Tree* tree_;
  const scan::Selection* selection_;
  const int scan_threads_;
  std::deque<Running> walks_;
  std::vector<ProofHandle> finished_;
  std::uint64_t scans_ = 0;
  std::uint64_t scanned_ = 0;
  std::uint64_t listed_ = 0;
  std::uint64_t unchanged_ = 0;
};

}  // namespace fanmirror::replicate
