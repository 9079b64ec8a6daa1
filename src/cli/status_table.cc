#include "cli/status_table.h"

#include <algorithm>
#include <array>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "cli/values.h"
#include "daemon/log.h"

namespace fanmirror::cli {
namespace {

using nlohmann::json;
constexpr std::size_t kColumns = 8;
using Row = std::array<std::string, kColumns>;

std::string Text(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? daemon::OneLine(found->get<std::string>()) : "";
}

double Number(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<double>() : 0;
}

const json& List(const json& object, const char* key) {
  static const json kEmpty = json::array();
  const auto found = object.find(key);
  return found != object.end() && found->is_array() ? *found : kEmpty;
}

std::string Lag(double seconds) {
  return seconds < 60 ? absl::StrFormat("%.1f s", seconds) : FormatSeconds(seconds);
}

Row TargetRow(const json& job, const json& target) {
  return {Text(job, "name"),
          Text(target, "name"),
          Text(target, "state"),
          Lag(Number(target, "lag_seconds")),
          absl::StrFormat("%.0f", Number(target, "pending")),
          absl::StrFormat("%.0f files, %s", Number(target, "acked_files"),
                          FormatBytes(Number(target, "acked_bytes"))),
          absl::StrFormat("%.0f files/s, %s/s", Number(target, "files_per_second"),
                          FormatBytes(Number(target, "bytes_per_second"))),
          Text(target, "last_error")};
}

void AppendAudit(const json& job, const json& target, std::string* out) {
  const double found = Number(target, "audit_found");
  if (found == 0) return;
  const absl::Time last = absl::FromUnixSeconds(static_cast<std::int64_t>(Number(target, "audited_unix_seconds")));
  absl::StrAppendFormat(out, "%s/%s: audits found %.0f changes that no event told, the last one at %s\n", Text(job, "name"),
                        Text(target, "name"), found, absl::FormatTime("%Y-%m-%d %H:%M:%S", last, absl::LocalTimeZone()));
}

std::string Format(const std::vector<Row>& rows) {
  std::array<std::size_t, kColumns> widths{};
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < kColumns; ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string out;
  for (const Row& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < kColumns; ++i) {
      absl::StrAppend(&line, row[i], i + 1 < kColumns ? std::string(widths[i] - row[i].size() + 2, ' ') : "");
    }
    line.erase(line.find_last_not_of(' ') + 1);
    absl::StrAppend(&out, line, "\n");
  }
  return out;
}

}  // namespace

std::string FormatStatusTable(const json& status) {
  std::vector<Row> rows = {{"JOB", "TARGET", "STATE", "LAG", "PENDING", "DURABLE", "RATE", "LAST ERROR"}};
  for (const json& job : List(status, "jobs")) {
    for (const json& target : List(job, "targets")) rows.push_back(TargetRow(job, target));
  }
  std::string out = Format(rows);
  for (const json& job : List(status, "jobs")) {
    for (const json& target : List(job, "targets")) AppendAudit(job, target, &out);
  }
  const auto counters = status.find("counters");
  if (counters == status.end() || !counters->is_object()) return out;
  absl::StrAppendFormat(
      &out, "%.0f events, %.0f overflows, %.0f scans of %.0f entries, %s sent; up %s, %s of memory\n",
      Number(*counters, "events"), Number(*counters, "overflows"), Number(*counters, "scans"),
      Number(*counters, "scanned"), FormatBytes(Number(*counters, "wire_bytes_sent")),
      FormatSeconds(Number(status, "uptime_seconds")), FormatBytes(Number(status, "rss_anon_bytes")));
  return out;
}

}  // namespace fanmirror::cli
