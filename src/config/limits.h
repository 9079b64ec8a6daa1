#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"

namespace fanmirror::config {

// A configuration, or a file of patterns, above this is another file given by mistake. Bytes.
inline constexpr std::size_t kMaxFileBytes = 1 << 20;
// Open brackets at any place, and dots on any line, outside of strings: ours needs 3 and 1. The parser
// recurses on both.
inline constexpr std::size_t kMaxNesting = 32;
// Names become names of directories in state_dir and columns of a status. Bytes.
inline constexpr std::size_t kMaxNameBytes = 64;
// PATH_MAX without its NUL: what can be passed to open(2). Bytes.
inline constexpr std::size_t kMaxPathBytes = 4095;
// Of settle and max_delay. A mirror that waits longer is a backup, which another tool makes better.
inline constexpr absl::Duration kMaxDelay = absl::Hours(1);
// Of timeout. Below, a loaded host would be taken for lost; above, nobody would be told.
inline constexpr absl::Duration kMinTimeout = absl::Seconds(1);
inline constexpr absl::Duration kMaxTimeout = absl::Hours(1);
// A year: whoever wants audits wants them before that.
inline constexpr absl::Duration kMaxAuditInterval = absl::Hours(24 * 365);
// Below this a single large file would take days, and keep-alives would fill the line. Bytes a second.
inline constexpr std::uint64_t kMinBandwidth = 1024;
inline constexpr int kMaxPort = 65535;
// Keeps a bad file from starting a daemon of a size that nobody wants.
inline constexpr std::size_t kMaxJobs = 1000;
inline constexpr std::size_t kMaxTargets = 100;  // of one job

}  // namespace fanmirror::config
