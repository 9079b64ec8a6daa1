#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

#include "daemon/event_fd.h"
#include "daemon/job.h"
#include "daemon/log.h"

namespace fanmirror::daemon {

// The audits of a job with `audit_content`: on a thread of its own, each target in turn is verified with its content, and
// repaired, once in the job's interval, at a bounded rate.
class ContentAudit {
 public:
  // Names and bytes of content a second: a terabyte takes a few hours.
  static constexpr std::uint64_t kNamesPerSecond = 5'000;
  static constexpr std::uint64_t kBytesPerSecond = std::uint64_t{64} << 20;

  // `job` outlives this.
  ContentAudit(Job* job, LogSink log);
  ~ContentAudit();  // gives up what is under way

 private:
  void Run();
  void AuditTarget(Target* target);
  bool Due(const Target& target) const;

  Job* const job_;
  LogSink log_;
  EventFd end_;
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

}  // namespace fanmirror::daemon
