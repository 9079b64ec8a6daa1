#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "replicate/replicator.h"
#include "spdlog/logger.h"

namespace fanmirror::daemon {

using replicate::Severity;

// Takes one line for people. Any thread.
using LogSink = std::function<void(Severity, std::string_view line)>;

// Lets a line through at most once in kInterval, so that a failure which repeats at once does not fill the
// journal. Not thread-safe.
class RepeatFilter {
 public:
  static constexpr absl::Duration kInterval = absl::Seconds(10);
  // Different lines that are remembered; when there are more, all are forgotten (and so let through again).
  static constexpr std::size_t kMaxLines = 256;

  // How often the line was held back since it was let through last; nullopt: hold it back now.
  std::optional<std::uint64_t> Admit(std::string_view line, absl::Time now);

 private:
  struct Seen {
    absl::Time shown;
    std::uint64_t held_back = 0;
  };
  absl::flat_hash_map<std::string, Seen> seen_;
};

// One line, whatever bytes it holds: control characters become \xNN.
std::string OneLine(std::string_view text);

// Writes lines to stderr: with the priority prefix "<6>" when stderr is the journal, else with the time.
// Thread-safe. The environment variable SPDLOG_LEVEL=debug shows debug lines.
class Log {
 public:
  Log();
  void Write(Severity severity, std::string_view line);
  LogSink sink() {
    return [this](Severity severity, std::string_view line) { Write(severity, line); };
  }

 private:
  std::shared_ptr<spdlog::logger> logger_;
  std::mutex mutex_;
  RepeatFilter repeats_;
};

// Whether file descriptor `fd` is the one that JOURNAL_STREAM (systemd.exec(5)) names.
bool IsJournal(int fd, const char* journal_stream);

}  // namespace fanmirror::daemon
