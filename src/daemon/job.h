#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "config/config.h"
#include "daemon/target.h"
#include "scan/walk.h"
#include "watch/mount.h"
#include "watch/watcher.h"

namespace fanmirror::daemon {

// One job and its targets, as everybody sees them; what runs of it is opened and closed by its JobRunner. Thread-safe.
class Job {
 public:
  explicit Job(const config::Job& job_config);

  const config::Job config;
  const std::vector<std::unique_ptr<Target>> targets;

  // The source as it was opened last.
  struct SourceView {
    watch::Mount mount;
    scan::Selection selection;
    std::shared_ptr<watch::Watcher> watcher;  // null while it is not open
  };
  SourceView source() const;
  // The job's thread alone.
  void SetSource(SourceView source);
  void SourceClosed();

 private:
  mutable std::mutex mutex_;
  SourceView source_;  // guarded by mutex_
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

}  // namespace fanmirror::daemon
