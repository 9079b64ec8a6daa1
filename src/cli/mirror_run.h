#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "cli/progress_line.h"
#include "cli/terminal_line.h"
#include "config/config.h"
#include "daemon/daemon.h"
#include "daemon/log.h"
#include "daemon/stop_signal.h"

namespace fanmirror::cli {

// One run of `mirror`: a daemon with one job in this process, and what a person sees of it.
class MirrorRun {
 public:
  // Between two looks at the progress.
  static constexpr absl::Duration kTick = absl::Milliseconds(100);
  // With `once`: what fails and is all that moves for so long is given up. Longer than a sync of the target's
  // disk takes as a rule; shorter than a failure's back-off, which nobody who asked for `once` wants to sit
  // through.
  static constexpr absl::Duration kGiveUpFailures = absl::Seconds(5);
  // Traffic of less than this is retries and pings, not a transfer.
  static constexpr std::uint64_t kIdleBytes = 1 << 20;
  // Lines that are repeated at the end; more would not be read.
  static constexpr std::size_t kMaxListedFailures = 1000;

  MirrorRun(config::Config config, bool once);
  ~MirrorRun();
  // Blocks until the initial sync is durable (`once`), a signal, or a failure. The exit code.
  int Run();

 private:
  // Says in the end what the initial sync came to; runs beside the loop.
  void WaitForInitialSync();
  void CountSource();
  int Loop();
  // The exit code, once there is a reason to end.
  std::optional<int> Verdict(const replicate::Progress& progress);
  // `once`: nothing is left but what cannot be replicated.
  bool OnlyFailuresLeft(const replicate::Progress& progress);
  void ListFailures();
  void ReportInitialSync(const replicate::Progress& progress);
  std::string LineFor(const replicate::Progress& progress);
  void Log(daemon::Severity severity, std::string_view line);
  void JoinThreads();
  const daemon::Job& job() const { return *daemon_->jobs().front(); }
  const daemon::Target& target() const { return *job().targets.front(); }

  config::Config config_;
  bool once_;
  daemon::StopSignal stop_;  // before every thread
  daemon::Log log_;
  std::unique_ptr<TerminalLine> terminal_;  // null: log lines only
  std::unique_ptr<daemon::Daemon> daemon_;
  absl::Time started_;
  std::optional<absl::Time> connected_;  // first
  bool live_ = false;                    // the initial sync was reported
  replicate::Progress moved_;            // when something moved last
  absl::Time moved_at_;

  std::atomic<bool> starting_{true};
  std::atomic<bool> ending_{false};
  std::mutex mutex_;
  std::optional<absl::Status> initial_sync_;  // guarded by mutex_; its outcome
  std::optional<SyncProgress::Total> total_;  // guarded by mutex_
  std::vector<std::string> failures_;         // guarded by mutex_; with `once`
  std::thread waiter_;
  std::thread counter_;
};

}  // namespace fanmirror::cli
