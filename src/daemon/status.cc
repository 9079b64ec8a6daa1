#include "daemon/status.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

namespace fanmirror::daemon {
namespace {

using nlohmann::json;

std::string Place(const config::Target& target) {
  if (target.host.empty()) return target.path;
  return absl::StrCat(target.user ? *target.user + "@" : "", target.host, ":", target.path);
}

json FailingJson(const replicate::Progress& progress) {
  json list = json::array();
  for (const replicate::Failing& failing : progress.failing) {
    list.push_back({{"path", failing.path}, {"error", failing.error}});
  }
  return list;
}

json TargetJson(const Target& target, const Target::Status& status) {
  const Rates rates = target.rates();
  const replicate::Progress& progress = status.progress;
  std::string error = progress.last_error;
  if (progress.next_attempt_seconds > 0 && !error.empty() && status.state == "connecting") {
    absl::StrAppendFormat(&error, "; trying again in %.0f s", std::ceil(progress.next_attempt_seconds));
  }
  return {{"name", target.config.name},
          {"state", status.state},
          {"path", Place(target.config)},
          {"lag_seconds", progress.lag_seconds},
          {"pending", progress.pending},
          {"acked_files", progress.acked_files},
          {"acked_bytes", progress.acked_bytes},
          {"failed_ops", progress.failed_ops},
          {"scans", progress.scans},
          {"scanned", progress.scanned},
          {"listed", progress.listed},
          {"checked_files", progress.checked_files},
          {"audits", progress.audits},
          {"audited_unix_seconds", progress.audited_unix_seconds},
          {"audit_found", progress.audit_found},
          {"wire_bytes_sent", progress.wire_bytes_sent},
          {"files_per_second", rates.files},
          {"bytes_per_second", rates.bytes},
          {"wire_bytes_per_second", rates.wire_bytes},
          {"last_path", progress.last_path},
          {"held_deletes", progress.held_deletes},
          {"failing", FailingJson(progress)},
          {"failing_count", progress.failing_count},
          {"last_error", error}};
}

}  // namespace

std::string JobState(const Job& job) {
  constexpr std::array<std::string_view, 10> kWorstFirst = {"needs-adoption", "halted",  "failed",   "paused",     "pausing",
                                                            "holding",        "stopped", "starting", "connecting", "syncing"};
  std::vector<std::string> states;
  for (const auto& target : job.targets) states.push_back(target->status().state);
  for (const std::string_view state : kWorstFirst) {
    if (std::find(states.begin(), states.end(), state) != states.end()) return std::string(state);
  }
  return "live";
}

json StatusJson(const Jobs& jobs, const watch::Watcher::Counters& events, absl::Time started) {
  json list = json::array();
  std::uint64_t scans = 0, scanned = 0, wire_bytes_sent = 0;
  for (const auto& job : jobs) {
    json targets = json::array();
    std::string error;
    for (const auto& target : job->targets) {
      const Target::Status status = target->status();
      targets.push_back(TargetJson(*target, status));
      scans += status.progress.scans;
      scanned += status.progress.scanned;
      wire_bytes_sent += status.progress.wire_bytes_sent;
      if (error.empty()) error = target->WhyStopped().value_or("");
    }
    const watch::Mount mount = job->source().mount;
    list.push_back({{"name", job->config.name},
                    {"state", JobState(*job)},
                    {"source", job->config.source},
                    {"mount", mount.target},
                    {"filesystem", mount.type},
                    {"error", error},
                    {"targets", std::move(targets)}});
  }
  return {{"version", FANMIRROR_VERSION},
          {"pid", ::getpid()},
          {"uptime_seconds", absl::ToDoubleSeconds(absl::Now() - started)},
          {"rss_anon_bytes", AnonymousMemoryBytes()},
          {"jobs", std::move(list)},
          {"counters",
           {{"events", events.events},
            {"overflows", events.overflows},
            {"filesystem_errors", events.filesystem_errors},
            {"scans", scans},
            {"scanned", scanned},
            {"wire_bytes_sent", wire_bytes_sent}}}};
}

std::string StatusLine(const Jobs& jobs) {
  std::size_t live = 0, all = 0;
  double lag = 0;
  for (const auto& job : jobs) {
    for (const auto& target : job->targets) {
      const Target::Status status = target->status();
      ++all;
      if (status.state == "live") ++live;
      lag = std::max(lag, status.progress.lag_seconds);
    }
  }
  return absl::StrFormat("%d of %d targets live, lag %.1f s", live, all, lag);
}

std::string Dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

std::uint64_t AnonymousMemoryBytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    unsigned long long kilobytes = 0;
    if (std::sscanf(line.c_str(), "RssAnon: %llu kB", &kilobytes) == 1) return kilobytes * 1024;
  }
  return 0;
}

}  // namespace fanmirror::daemon
