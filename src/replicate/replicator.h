#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "link/link.h"
#include "model/change.h"
#include "os/tree.h"
#include "plan/delete_guard.h"
#include "replicate/verification.h"
#include "select/filter.h"

namespace fanmirror::replicate {

enum class Severity { kDebug, kInfo, kWarning, kError };

// What the watch remembers of pending sets, beyond this process (watch::Watcher's calls of these names); all empty: nothing.
struct WatchMemory {
  std::function<bool(std::uint64_t token)> is_complete;
  std::function<void(std::uint64_t token)> set_complete;
  std::function<void(std::uint64_t token)> set_incomplete;  // any thread, also in Changed and Rescan
};

// Names that one round looks at, unless Options say otherwise: its facts and its plan stay within a few MB.
inline constexpr std::size_t kRoundNames = 4'096;

struct Options {
  std::string job;
  std::string target;
  std::string source;             // absolute path, for messages and the marker
  const os::Tree* tree = nullptr; // of the source; outlives the replicator
  std::string filesystem;         // watch::Mount::filesystem
  select::Filter filter;
  std::vector<std::string> ignored;  // paths relative to the source root that are not replicated, beside the filter's
  std::string state_dir;             // of this target alone; made when missing
  absl::Duration settle;
  absl::Duration max_delay;
  bool delete_at_startup = true;
  bool delete_while_running = true;
  plan::DeleteGuard::Limit max_delete = {.fraction = 0.5, .count = std::nullopt};
  std::string path;  // the root on the target that the receiver shall have
  bool adopt = false;
  int scan_threads = 1;  // of a scan of the whole source
  std::size_t round_names = kRoundNames;  // at least 1; less for tests, so that what takes many rounds need not be large
  std::uint64_t bandwidth_limit = 0;  // bytes a second, 0: none
  // A peer that is silent for so long is lost; both sides go by it. 0: never.
  absl::Duration timeout = absl::Seconds(15);
  WatchMemory memory;  // of the watch that calls Changed
  absl::Duration audit;  // between two audits of the source; zero: none
  // Makes a new connection to a receiver; blocks; called on a thread of the replicator. `wakeup_fd` readable: give up.
  std::function<absl::StatusOr<std::unique_ptr<link::Link>>(link::StderrSink, int wakeup_fd)> connect;
  std::function<void(Severity, std::string_view line)> log;  // any thread
};

enum class State {
  kConnecting,  // no receiver yet, or not any more; retries with back-off
  kSyncing,     // connected; a scan is under way
  kLive,        // connected; the scan is through
  kHolding,     // connected; very many deletes wait for Approve, all else flows
  kHalted,      // last_error says why, halt_cause whether it can be cured by opening it anew
  kStopped
};
std::string_view StateName(State state);

// Why a replicator is halted.
enum class HaltCause {
  kNone,     // it is not
  kStore,    // our own state cannot be read or written: what is on the disk is to be opened anew
  kRefused   // the far side, or what it says, forbids to go on
};

// A file that failed and is tried again by itself.
struct Failing {
  std::string path;   // relative to the target's root
  std::string error;  // one line
};

// All counters since Start.
struct Progress {
  State state = State::kConnecting;
  double lag_seconds = 0;          // now minus the oldest unproved change, 0 when there is none
  std::uint64_t pending = 0;       // entries of the pending set
  std::uint64_t acked_files = 0;   // nodes other than directories whose content or creation was acknowledged as durable
  std::uint64_t acked_bytes = 0;   // of their content
  std::uint64_t acked_ops = 0;
  std::uint64_t failed_ops = 0;
  std::uint64_t batches = 0;
  std::uint64_t wire_bytes_sent = 0;
  std::uint64_t wire_bytes_received = 0;
  std::uint64_t scans = 0;         // of the whole source, begun; audits are none
  std::uint64_t scanned = 0;       // entries listed by scans
  std::uint64_t listed = 0;        // entries listed in directories that appeared
  std::uint64_t audits = 0;        // of the source, begun
  std::int64_t audited_unix_seconds = 0;  // when the last audit (or scan of all) was through, also before Start; 0: never
  std::uint64_t audit_found = 0;   // differences that no event had told, found by audits
  std::uint64_t checked_files = 0; // files compared by scans that needed nothing sent (progress of a restart)
  std::string last_path;           // of the last op sent
  std::string last_error;          // one line; empty when the last attempt at everything went well
  double next_attempt_seconds = 0; // kConnecting: until the next connection is tried; 0 when it is being tried
  HaltCause halt_cause = HaltCause::kNone;
  std::vector<Failing> failing;    // some of the files that failed, kMaxFailing at most
  std::uint64_t failing_count = 0; // all of them
  std::uint64_t held_deletes = 0;  // kHolding: entries that the target would lose
  static constexpr std::size_t kMaxFailing = 20;
};

// Keeps one target equal to one source: takes what is pending, looks at the source, plans, sends, and settles what the
// receiver proved. Owns its threads. Public calls are thread-safe.
class Replicator {
 public:
  // Opens pending set and catalogue; a damaged one is set aside and begun anew. kHaltJob when the source is not the one that
  // the target was mirrored from (FitOf tells before), or what is there is of a newer fanmirror. Nothing runs yet, but Changed may be called from now on.
  static absl::StatusOr<std::unique_ptr<Replicator>> Open(Options options);
  virtual ~Replicator() = default;  // Stop()

  // Starts the threads. The scan of the start is pending, unless the watch remembers that all that changed was noted. Call
  // it only after the watch's mark is in place, and Changed is called for its events; and before a watch that was taken over
  // is started.
  virtual void Start() = 0;
  // Ends the connection and joins the threads. What is pending stays in the pending set.
  virtual void Stop() = 0;

  // Changed and Rescan will not be called any more, though the watch goes on: it is told that what comes is not noted here.
  // Does not block.
  virtual void Detach() = 0;

  virtual void Changed(absl::Span<const model::Change> changes) = 0;
  // Anything may differ: scan the whole source.
  virtual void Rescan() = 0;
  // Wakes up a replicator that waits to connect again.
  virtual void RetryNow() = 0;
  // Lets the deletes go through that are held back because they are very many, and those that are pending besides; not
  // what comes later. Without effect when none are held.
  virtual void Approve() = 0;

  virtual Progress progress() const = 0;

  // The barrier: after watch::Watcher::Drain, take Mark(); everything that changed before is durable on the target
  // once Reached(mark).
  virtual std::uint64_t Mark() const = 0;
  virtual bool Reached(std::uint64_t mark) const = 0;

  // Compares source and target while the replication goes on, and with options.repair corrects what differs. Blocks; one
  // at a time (kRetry: another is under way). An error: it was not brought to its end.
  virtual absl::StatusOr<VerifyCounts> Verify(const VerifyOptions& options) = 0;
};

}  // namespace fanmirror::replicate
