#include "daemon/status.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

namespace fanmirror::daemon {
namespace {

using nlohmann::json;

constexpr char kFailed[] = "failed";  // did not start

std::string TargetState(const Job& job, const Target& target, const replicate::Progress& progress) {
  if (!job.error.empty() || target.replicator == nullptr) return kFailed;
  return std::string(replicate::StateName(progress.state));
}

replicate::Progress ProgressOf(const Target& target) {
  return target.replicator == nullptr ? replicate::Progress{} : target.replicator->progress();
}

std::string Place(const config::Target& target) {
  if (target.host.empty()) return target.path;
  return absl::StrCat(target.user ? *target.user + "@" : "", target.host, ":", target.path);
}

json TargetJson(const Job& job, const Target& target, const replicate::Progress& progress) {
  const Rates rates = target.rates();
  std::string error = progress.last_error;
  if (!target.error.empty()) error = target.error;
  if (!job.error.empty()) error = job.error;
  return {{"name", target.config.name},
          {"state", TargetState(job, target, progress)},
          {"path", Place(target.config)},
          {"lag_seconds", progress.lag_seconds},
          {"pending", progress.pending},
          {"acked_files", progress.acked_files},
          {"acked_bytes", progress.acked_bytes},
          {"failed_ops", progress.failed_ops},
          {"scans", progress.scans},
          {"scanned", progress.scanned},
          {"checked_files", progress.checked_files},
          {"audited_unix_seconds", progress.audited_unix_seconds},
          {"audit_found", progress.audit_found},
          {"wire_bytes_sent", progress.wire_bytes_sent},
          {"files_per_second", rates.files},
          {"bytes_per_second", rates.bytes},
          {"wire_bytes_per_second", rates.wire_bytes},
          {"last_path", progress.last_path},
          {"last_error", error}};
}

}  // namespace

std::string JobState(const Job& job) {
  constexpr std::array<std::string_view, 5> kWorstFirst = {"halted", kFailed, "stopped", "connecting",
                                                           "syncing"};
  for (const std::string_view state : kWorstFirst) {
    for (const auto& target : job.targets) {
      if (TargetState(job, *target, ProgressOf(*target)) == state) return std::string(state);
    }
  }
  return "live";
}

json StatusJson(const Jobs& jobs, absl::Time started) {
  json list = json::array();
  std::uint64_t events = 0, overflows = 0, scans = 0, scanned = 0, wire_bytes_sent = 0;
  absl::flat_hash_set<const watch::Watcher*> watchers;
  for (const auto& job : jobs) {
    json targets = json::array();
    for (const auto& target : job->targets) {
      const replicate::Progress progress = ProgressOf(*target);
      targets.push_back(TargetJson(*job, *target, progress));
      scans += progress.scans;
      scanned += progress.scanned;
      wire_bytes_sent += progress.wire_bytes_sent;
    }
    if (job->watcher != nullptr && watchers.insert(job->watcher).second) {
      const watch::Watcher::Counters counters = job->watcher->counters();
      events += counters.events;
      overflows += counters.overflows;
    }
    list.push_back({{"name", job->config.name},
                    {"state", JobState(*job)},
                    {"source", job->config.source},
                    {"mount", job->mount.target},
                    {"filesystem", job->mount.type},
                    {"error", job->error},
                    {"targets", std::move(targets)}});
  }
  return {{"version", FANMIRROR_VERSION},
          {"pid", ::getpid()},
          {"uptime_seconds", absl::ToDoubleSeconds(absl::Now() - started)},
          {"rss_anon_bytes", AnonymousMemoryBytes()},
          {"jobs", std::move(list)},
          {"counters",
           {{"events", events},
            {"overflows", overflows},
            {"scans", scans},
            {"scanned", scanned},
            {"wire_bytes_sent", wire_bytes_sent}}}};
}

std::string StatusLine(const Jobs& jobs) {
  std::size_t live = 0, all = 0;
  double lag = 0;
  for (const auto& job : jobs) {
    for (const auto& target : job->targets) {
      const replicate::Progress progress = ProgressOf(*target);
      ++all;
      if (TargetState(*job, *target, progress) == "live") ++live;
      lag = std::max(lag, progress.lag_seconds);
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
