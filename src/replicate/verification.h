#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace fanmirror::replicate {

// A name whose meanings on source and target differ, though nothing is known to be pending there.
struct Difference {
  std::string path;  // relative to the source root, "" for the root itself; any bytes
  std::string what;  // for people
  bool repaired = false;
};

struct VerifyCounts {
  std::uint64_t compared = 0;     // names that both sides have
  std::uint64_t hashed = 0;       // files whose content was hashed on both sides
  std::uint64_t hashed_bytes = 0;
  std::uint64_t differences = 0;
  std::uint64_t repaired = 0;     // of them
  std::uint64_t pending = 0;      // differ, and are known to be pending because their replication fails
  std::uint64_t changing = 0;     // changed so often while they were looked at that nothing is concluded
  std::uint64_t links_left_out = 0;  // nodes with several names that were too many for their groups to be compared
};

// What a verification is to do, and whom it tells. All functions are called on the thread that verifies.
struct VerifyOptions {
  bool content = false;  // regular files are read and hashed on both sides
  bool repair = false;   // what differs is corrected
  bool audit = false;    // with content: counts as an audit
  std::uint64_t names_per_second = 0;  // 0: no limit
  std::uint64_t bytes_per_second = 0;  // of content; 0: no limit
  // True: give up.
  std::function<bool()> abandoned;
  // Until every change that was made before the call is in the pending set (watch::Watcher::Drain).
  std::function<absl::Status()> drain;
  // False: give up, nobody listens.
  std::function<bool(const Difference&)> differs;
  // About once a second. False: give up.
  std::function<bool(const VerifyCounts&)> progress;
};

}  // namespace fanmirror::replicate
