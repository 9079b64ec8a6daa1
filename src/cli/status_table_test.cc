#include "cli/status_table.h"

#include "gtest/gtest.h"

namespace fanmirror::cli {
namespace {

using nlohmann::json;

TEST(FormatStatusTable, IsATableForPeople) {
  const json status = json::parse(R"({
    "uptime_seconds": 61, "rss_anon_bytes": 1048576,
    "counters": {"events": 7, "overflows": 0, "scans": 1, "scanned": 12, "wire_bytes_sent": 2048},
    "jobs": [{"name": "uploads", "targets": [
      {"name": "dr1", "state": "live", "lag_seconds": 0.04, "pending": 2, "acked_files": 10,
       "acked_bytes": 1024, "files_per_second": 1.6, "bytes_per_second": 100, "last_error": ""},
      {"name": "dr22", "state": "connecting", "lag_seconds": 90, "pending": 3,
       "last_error": "no\nroute"}]}]})");
  EXPECT_EQ(
      FormatStatusTable(status),
      "JOB      TARGET  STATE       LAG    PENDING  DURABLE            RATE                LAST ERROR\n"
      "uploads  dr1     live        0.0 s  2        10 files, 1.0 KiB  2 files/s, 100 B/s\n"
      "uploads  dr22    connecting  1:30   3        0 files, 0 B       0 files/s, 0 B/s    no\\x0aroute\n"
      "7 events, 0 overflows, 1 scans of 12 entries, 2.0 KiB sent; up 1:01, 1.0 MiB of memory\n");
}

TEST(FormatStatusTable, ToleratesWhatAnotherVersionWouldSend) {
  EXPECT_NE(FormatStatusTable(json::object()).find("JOB"), std::string::npos);
  EXPECT_NE(FormatStatusTable(json::parse(R"({"jobs":[{"name":7,"targets":[{}, 3]}, null], "counters": 1})"))
                .find("JOB"),
            std::string::npos);
}

}  // namespace
}  // namespace fanmirror::cli
