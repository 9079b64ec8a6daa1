#include "daemon/content_audit.h"

#include <poll.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "daemon/verification.h"
#include "model/failure.h"

namespace fanmirror::daemon {
namespace {

// Between two looks at whether an audit is due, and after one that failed.
constexpr absl::Duration kLongestPause = absl::Minutes(1);

}  // namespace

ContentAudit::ContentAudit(Job* job, LogSink log)
    : job_(job), log_(std::move(log)), thread_([this] { Run(); }) {}

ContentAudit::~ContentAudit() {
  ending_ = true;
  end_.Set();
  thread_.join();
}

void ContentAudit::Run() {
  const absl::Duration pause = std::min(job_->config.audit, kLongestPause);
  while (!ending_) {
    pollfd end{end_.get(), POLLIN, 0};
    ::poll(&end, 1, static_cast<int>(std::max<std::int64_t>(1, absl::ToInt64Milliseconds(pause))));
    for (const auto& target : job_->targets) {
      if (!ending_ && Due(*target)) AuditTarget(target.get());
    }
  }
}

bool ContentAudit::Due(const Target& target) const {
  const Target::Status status = target.status();
  if (status.state != replicate::StateName(replicate::State::kLive)) return false;
  return absl::Now() - absl::FromUnixSeconds(status.progress.audited_unix_seconds) >= job_->config.audit;
}

void ContentAudit::AuditTarget(Target* target) {
  const std::string name = TargetName(*job_, *target);
  replicate::VerifyOptions options;
  options.content = options.repair = options.audit = true;
  options.names_per_second = kNamesPerSecond;
  options.bytes_per_second = kBytesPerSecond;
  options.abandoned = [this] { return ending_.load(); };
  options.drain = [&] { return DrainEvents(*job_, [&] { return ending_ || target->WhyStopped().has_value(); }); };
  options.differs = [&](const replicate::Difference& difference) {
    log_(Severity::kWarning, absl::StrCat(name, ": the audit found ", model::QuotePath(difference.path), ": ", difference.what,
                                          difference.repaired ? "; repaired" : "; not repaired"));
    return true;
  };
  options.progress = [this](const replicate::VerifyCounts&) { return !ending_; };
  const auto counts = target->Verify(options);
  if (counts.ok() || ending_) return;
  log_(Severity::kWarning, absl::StrCat(name, ": the audit was not brought to its end: ", std::string(counts.status().message())));
}

}  // namespace fanmirror::daemon
