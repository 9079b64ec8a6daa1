#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "config/config.h"
#include "daemon/rate_meter.h"
#include "replicate/replicator.h"

namespace fanmirror::daemon {

// Why a target has no replicator that runs.
enum class Hold {
  kNone,           // it has one
  kStarting,       // nothing was tried yet
  kPausing,        // its source is lost; what holds the filesystem is being closed
  kPaused,         // its source is not there now, and nothing of ours holds it; goes on by itself
  kNeedsAdoption,  // what is there is not what it was mirrored from; goes on when that is back, or when it is adopted
  kFailed,         // could not be opened; tried again
  kStopped         // the daemon is ending
};
std::string_view HoldName(Hold hold);

// One target of a job. The job's thread opens and closes its replicator, again and again; everybody else sees what there
// is now through calls that neither block for long nor hold anything up.
class Target {
 public:
  explicit Target(config::Target target_config) : config(std::move(target_config)) {}

  const config::Target config;

  // Any thread.
  struct Status {
    std::string state;             // a Hold, or what the replicator says
    replicate::Progress progress;  // its counters are sums over all replicators since the start of the daemon
  };
  Status status() const;
  // Why nothing is mirrored now; nullopt when it is, or retries by itself.
  std::optional<std::string> WhyStopped() const;
  Rates rates() const;
  // What `last_error` was when the first replicator had been opened: kept from the run before.
  std::string earlier_error() const;

  // The barrier, as replicate::Replicator has it, over replicators that come and go.
  struct Mark {
    std::uint64_t opening = 0;  // the how-manieth replicator it is of
    std::uint64_t sequence = 0;
  };
  enum class Reach { kNotYet, kReached, kReopened };  // kReopened: another replicator runs, take a new mark
  std::optional<Mark> TakeMark() const;               // nullopt while WhyStopped says something
  Reach Reached(const Mark& mark) const;
  // False while there is no replicator.
  bool Approve() const;
  // replicate::Replicator::Verify of the replicator that runs now; given up when that is closed. Blocks for long.
  absl::StatusOr<replicate::VerifyCounts> Verify(const replicate::VerifyOptions& options);

  void Sample(absl::Time now);  // progress into the rates

  // The job's thread alone.
  void SetHold(Hold hold, std::string why);
  Hold hold() const { return hold_; }
  const std::string& why() const { return why_; }
  // `replicator` has been started. Ends the hold.
  void Run(std::unique_ptr<replicate::Replicator> replicator);
  replicate::Replicator* replicator() const { return replicator_.get(); }
  // Stops the replicator and destroys it once no verification uses it; blocks. A hold has been set before.
  void Close();

 private:
  replicate::Progress ProgressLocked() const;

  // Written by the job's thread under the mutex; so it alone reads without.
  mutable std::mutex mutex_;
  std::condition_variable verified_;
  int verifying_ = 0;  // guarded by mutex_: verifications that use replicator_
  std::unique_ptr<replicate::Replicator> replicator_;
  Hold hold_ = Hold::kStarting;
  std::string why_ = "nothing was tried yet";
  std::uint64_t openings_ = 0;
  std::string earlier_error_;
  replicate::Progress closed_;  // sums of the counters of those that are closed, and the last one's other figures
  absl::Time closed_at_;
  RateMeter meter_;
};

}  // namespace fanmirror::daemon
