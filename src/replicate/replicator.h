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
#include "replicate/verification.h"
#include "select/filter.h"

namespace fanmirror::replicate {

enum class Severity { kDebug, kInfo, kWarning, kError };

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
  std::string path;  // the root on the target that the receiver shall have
  bool adopt = false;
  std::uint64_t bandwidth_limit = 0;  // bytes a second, 0: none
  absl::Duration audit;               // between two audits of the source; zero: none
  // Makes a new connection to a receiver; blocks; called on a thread of the replicator. `wakeup_fd` readable: give up.
  std::function<absl::StatusOr<std::unique_ptr<link::Link>>(link::StderrSink, int wakeup_fd)> connect;
  std::function<void(Severity, std::string_view line)> log;  // any thread
};

enum class State {
  kConnecting,  // no receiver yet, or not any more; retries with back-off
  kSyncing,     // connected; a scan is under way
  kLive,        // connected; the scan is through
  kHalted,      // waits for a person: last_error says why
  kStopped
};
std::string_view StateName(State state);

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
  std::uint64_t scans = 0;         // begun, audits included
  std::uint64_t scanned = 0;       // entries listed by them
  std::int64_t audited_unix_seconds = 0;  // when the last audit (or scan of all) was through, also before Start; 0: never
  std::uint64_t audit_found = 0;   // differences that no event had told, found by audits
  std::uint64_t checked_files = 0; // files compared by scans that needed nothing sent (progress of a restart)
  std::string last_path;           // of the last op sent
  std::string last_error;          // one line; empty when the last attempt at everything went well
};

// Keeps one target equal to one source: takes what is pending, looks at the source, plans, sends, and settles what the
// receiver proved. Owns its threads. Public calls are thread-safe.
class Replicator {
 public:
  // Opens pending set and catalogue. Nothing runs yet, but Changed may be called from now on.
  static absl::StatusOr<std::unique_ptr<Replicator>> Open(Options options);
  virtual ~Replicator() = default;  // Stop()

  // Starts the threads; the scan of the start is pending. Call it only after the watch's mark is in place.
  virtual void Start() = 0;
  // Ends the connection and joins the threads. What is pending stays in the pending set.
  virtual void Stop() = 0;
  // Stops sending and reports kHalted with this line, until Start of a new replicator (unmounted source, ...).
  virtual void Halt(std::string_view why) = 0;

  virtual void Changed(absl::Span<const model::Change> changes) = 0;
  // Anything may differ: scan the whole source.
  virtual void Rescan() = 0;
  // Wakes up a replicator that waits to connect again.
  virtual void RetryNow() = 0;
  // A person wants the deletes that are held back as too many to be made. Does nothing when none are.
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
