#include "cli/mirror_run.h"

#include <poll.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "cli/exit.h"
#include "cli/values.h"
#include "model/failure.h"
#include "os/tree.h"
#include "scan/walk.h"

namespace fanmirror::cli {
namespace {

using daemon::Severity;
using replicate::Progress;

std::string PlaceOf(const config::Target& target) {
  if (target.host.empty()) return target.path;
  return absl::StrCat(target.user ? *target.user + "@" : "", target.host, ":", target.path);
}

}  // namespace

MirrorRun::MirrorRun(config::Config config, bool once) : config_(std::move(config)), once_(once) {
  if (TerminalLine::Possible()) terminal_ = std::make_unique<TerminalLine>();
}

MirrorRun::~MirrorRun() {
  JoinThreads();
  daemon_.reset();  // its threads log to what is below
}

int MirrorRun::Run() {
  started_ = absl::Now();
  moved_at_ = started_;
  auto daemon = daemon::Daemon::Start(
      config_, [this](Severity severity, std::string_view line) { Log(severity, line); });
  if (!daemon.ok()) return Fail(kFailed, daemon.status());
  daemon_ = *std::move(daemon);
  starting_ = false;
  if (const auto why = target().WhyStopped()) {
    if (terminal_ != nullptr) terminal_->Clear();
    return Fail(kFailed, *why);
  }
  Log(Severity::kInfo, absl::StrCat("mirroring ", model::QuotePath(config_.jobs.front().source), " to ",
                                    model::QuotePath(PlaceOf(config_.jobs.front().targets.front())),
                                    "; fanmirror status --socket ", config_.control_socket));
  waiter_ = std::thread([this] { WaitForInitialSync(); });
  if (terminal_ != nullptr) counter_ = std::thread([this] { CountSource(); });

  const int code = Loop();
  if (terminal_ != nullptr) terminal_->Clear();
  JoinThreads();
  daemon_->Stop();
  const Progress progress = target().status().progress;
  Log(Severity::kInfo,
      absl::StrFormat("ended: %d files, %s durable, %d pending", progress.acked_files,
                      FormatBytes(static_cast<double>(progress.acked_bytes)), progress.pending));
  return code;
}

void MirrorRun::JoinThreads() {
  ending_ = true;
  if (waiter_.joinable()) waiter_.join();
  if (counter_.joinable()) counter_.join();
}

void MirrorRun::WaitForInitialSync() {
  daemon::BarrierRequest everything;
  everything.timeout = absl::InfiniteDuration();
  const absl::Status status = daemon_->Wait(everything, [this] { return ending_.load(); });
  std::lock_guard lock(mutex_);
  initial_sync_ = status;
}

void MirrorRun::CountSource() {
  const auto tree = os::Tree::Open(config_.jobs.front().source);
  if (!tree.ok()) return;  // then there is no percentage
  const scan::Total total = scan::Count(**tree, job().source().selection, ending_);
  if (ending_) return;
  std::lock_guard lock(mutex_);
  total_ = SyncProgress::Total{total.files, total.bytes};
}

int MirrorRun::Loop() {
  while (true) {
    const Progress progress = target().status().progress;
    if (const std::optional<int> code = Verdict(progress)) return *code;
    if (terminal_ != nullptr) terminal_->Draw(LineFor(progress));
    pollfd stop{stop_.fd(), POLLIN, 0};
    if (::poll(&stop, 1, static_cast<int>(absl::ToInt64Milliseconds(kTick))) > 0) {
      return once_ && !live_ ? kFailed : kDone;
    }
  }
}

std::optional<int> MirrorRun::Verdict(const Progress& progress) {
  if (progress.state == replicate::State::kSyncing || progress.state == replicate::State::kLive ||
      progress.state == replicate::State::kHolding) {
    if (!connected_) connected_ = absl::Now();
  }
  if (const auto why = target().WhyStopped()) {
    if (terminal_ != nullptr) terminal_->Clear();
    return Fail(kFailed, *why);
  }
  // A service goes on trying; a person, or a script, with a mistyped host wants to know.
  if (once_ && !connected_ && !progress.last_error.empty() && progress.last_error != target().earlier_error()) {
    if (terminal_ != nullptr) terminal_->Clear();
    return Fail(kFailed, progress.last_error);
  }
  if (OnlyFailuresLeft(progress)) {
    ListFailures();
    return Fail(kFailed, "what is named above could not be replicated; cure it, and run this again");
  }
  std::optional<absl::Status> outcome;
  {
    std::lock_guard lock(mutex_);
    outcome = initial_sync_;
  }
  if (live_ || !outcome) return std::nullopt;
  if (!outcome->ok()) return Fail(kFailed, *outcome);
  live_ = true;
  ReportInitialSync(progress);
  if (once_) return kDone;
  return std::nullopt;
}

bool MirrorRun::OnlyFailuresLeft(const Progress& progress) {
  const absl::Time now = absl::Now();
  const bool moved = progress.acked_ops != moved_.acked_ops ||
                     progress.checked_files != moved_.checked_files ||
                     progress.scanned + progress.listed != moved_.scanned + moved_.listed ||
                     progress.pending != moved_.pending ||
                     progress.wire_bytes_sent - moved_.wire_bytes_sent > kIdleBytes;
  const bool settled = progress.state == replicate::State::kLive || progress.state == replicate::State::kHolding;
  if (moved || !settled || progress.last_error.empty()) {
    moved_ = progress;
    moved_at_ = now;
  }
  return once_ && now - moved_at_ > kGiveUpFailures;
}

void MirrorRun::ListFailures() {
  if (terminal_ != nullptr) terminal_->Clear();
  std::lock_guard lock(mutex_);
  for (const std::string& line : failures_) Fail(kFailed, "not replicated: " + line);
}

void MirrorRun::ReportInitialSync(const Progress& progress) {
  const double seconds = absl::ToDoubleSeconds(absl::Now() - started_);
  Log(Severity::kInfo,
      absl::StrFormat("initial sync done: %d files, %s sent, %d files were equal; %.1f s, %s/s",
                      progress.acked_files, FormatBytes(static_cast<double>(progress.acked_bytes)),
                      progress.checked_files, seconds,
                      FormatBytes(static_cast<double>(progress.acked_bytes) / std::max(seconds, 0.001))));
}

std::string MirrorRun::LineFor(const Progress& progress) {
  if (progress.state == replicate::State::kConnecting) {
    std::string line = "connecting to " + model::QuotePath(PlaceOf(target().config));
    if (!progress.last_error.empty()) absl::StrAppend(&line, ": ", daemon::OneLine(progress.last_error));
    return line;
  }
  if (live_) return FormatLive(progress.lag_seconds, progress.pending, progress.last_path);
  SyncProgress sync;
  {
    std::lock_guard lock(mutex_);
    sync.total = total_;
  }
  sync.files = progress.acked_files + progress.checked_files;
  // A file of many gigabytes is acknowledged at its end: what is on the way shows that it moves.
  sync.bytes = std::max(progress.acked_bytes, progress.wire_bytes_sent);
  sync.bytes_per_second = target().rates().wire_bytes;
  sync.elapsed_seconds = absl::ToDoubleSeconds(absl::Now() - connected_.value_or(absl::Now()));
  return FormatSync(sync);
}

void MirrorRun::Log(Severity severity, std::string_view line) {
  if (starting_ && severity == Severity::kError) return;  // what Run says itself
  if (once_ && severity == Severity::kWarning) {
    std::lock_guard lock(mutex_);
    std::string failure(line);
    if (failures_.size() < kMaxListedFailures &&
        std::find(failures_.begin(), failures_.end(), failure) == failures_.end()) {
      failures_.push_back(std::move(failure));
    }
  }
  if (terminal_ == nullptr) return log_.Write(severity, line);
  if (severity != Severity::kDebug) terminal_->Print(daemon::OneLine(line));
}

}  // namespace fanmirror::cli
