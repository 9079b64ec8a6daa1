#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "config/config.h"
#include "daemon/rate_meter.h"
#include "os/tree.h"
#include "replicate/replicator.h"
#include "scan/walk.h"
#include "watch/mount.h"
#include "watch/watcher.h"

namespace fanmirror::daemon {

// One target of a job, as it runs. Built by the daemon before its threads start; after that nothing but
// `rates` changes.
struct Target {
  config::Target config;
  std::unique_ptr<replicate::Replicator> replicator;  // none when it could not be opened: `error` says why
  std::string error;
  std::string earlier_error;  // what `last_error` is before anything was tried: kept from the run before

  void Sample(absl::Time now);  // progress into the rates
  Rates rates() const;

 private:
  mutable std::mutex mutex_;
  RateMeter meter_;
};

// One job as it runs.
struct Job {
  config::Job config;
  watch::Mount mount;
  std::unique_ptr<os::Tree> tree;     // none when the source could not be opened: `error` says why
  watch::Watcher* watcher = nullptr;  // of the filesystem; shared with the other jobs on it
  scan::Selection selection;
  std::string error;  // why the job could not start; empty: it runs
  std::vector<std::unique_ptr<Target>> targets;
};

using Jobs = std::vector<std::unique_ptr<Job>>;

// What a person names on the command line; empty: all.
struct TargetChoice {
  std::string job;
  std::string target;
};
struct ChosenTarget {
  Job* job;
  Target* target;
};
// An error that names what there is when nothing is chosen.
absl::StatusOr<std::vector<ChosenTarget>> ChooseTargets(const Jobs& jobs, const TargetChoice& choice);

// "job/target", as messages call it.
std::string TargetName(const Job& job, const Target& target);

// Why the target does nothing until a person acts; nullopt when it works or retries by itself.
std::optional<std::string> WhyStopped(const Job& job, const Target& target);

// Why `job` must stop: its source path does not lead to the directory that was opened at the start any more
// (unmounted, mounted over, replaced), or the mark is gone. One line with the cure; nullopt when all is as it
// was.
std::optional<std::string> WhySourceLost(const Job& job);

}  // namespace fanmirror::daemon
