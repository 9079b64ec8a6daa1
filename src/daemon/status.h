#pragma once

#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "daemon/job.h"
#include "watch/watcher.h"
#include "nlohmann/json.hpp"

namespace fanmirror::daemon {

// All that `status` shows, as a JSON object. Per job: name, state, source, mount, filesystem, error, targets;
// per target: name, state, path, lag_seconds, pending, acked_files, acked_bytes, failed_ops, scans and
// scanned (of the whole source, entries), listed (entries of single directories), checked_files, audits,
// audited_unix_seconds (0: never), audit_found, wire_bytes_sent, rates, last_path, failing (some: path, error),
// failing_count, last_error; counters (sums since the start): events, overflows, filesystem_errors, scans, scanned,
// wire_bytes_sent; and the process itself. Strings may hold invalid UTF-8: write
// them with Dump. Thread-safe.
nlohmann::json StatusJson(const Jobs& jobs, const watch::Watcher::Counters& events, absl::Time started);

// The worst state that a target is in: "needs-adoption" before "halted", "failed", "paused", "pausing", "stopped", "starting",
// "connecting", "syncing"; "live" when all are.
std::string JobState(const Job& job);

// "2 of 3 targets live, lag 0.3 s", for systemctl status.
std::string StatusLine(const Jobs& jobs);

// On one line, valid UTF-8 whatever the strings hold.
std::string Dump(const nlohmann::json& json);

// Resident memory of this process without mapped files; 0 when /proc is not there.
std::uint64_t AnonymousMemoryBytes();

}  // namespace fanmirror::daemon
