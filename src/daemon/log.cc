#include "daemon/log.h"

#include <sys/stat.h>

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "spdlog/cfg/helpers.h"
#include "spdlog/details/os.h"
#include "spdlog/pattern_formatter.h"
#include "spdlog/sinks/stdout_sinks.h"

namespace fanmirror::daemon {
namespace {

// "%*": the severity as the journal reads it from a stream, see sd-daemon(3).
class JournalPriority : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& out) override {
    std::string_view prefix = "<6>";
    if (message.level <= spdlog::level::debug) prefix = "<7>";
    if (message.level == spdlog::level::warn) prefix = "<4>";
    if (message.level >= spdlog::level::err) prefix = "<3>";
    out.append(prefix.data(), prefix.data() + prefix.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<JournalPriority>();
  }
};

spdlog::level::level_enum LevelOf(Severity severity) {
  switch (severity) {
    case Severity::kDebug:
      return spdlog::level::debug;
    case Severity::kInfo:
      return spdlog::level::info;
    case Severity::kWarning:
      return spdlog::level::warn;
    case Severity::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

}  // namespace

std::optional<std::uint64_t> RepeatFilter::Admit(std::string_view line, absl::Time now) {
  const std::string key(line);
  if (seen_.size() >= kMaxLines && !seen_.contains(key)) seen_.clear();
  auto [entry, is_new] = seen_.try_emplace(key, Seen{now, 0});
  if (is_new) return 0;
  Seen& seen = entry->second;
  if (now - seen.shown < kInterval) {
    ++seen.held_back;
    return std::nullopt;
  }
  seen.shown = now;
  return std::exchange(seen.held_back, 0);
}

std::string OneLine(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      absl::StrAppendFormat(&out, "\\x%02x", byte);
    } else {
      out += c;
    }
  }
  return out;
}

bool IsJournal(int fd, const char* journal_stream) {
  struct stat status {};
  if (journal_stream == nullptr || ::fstat(fd, &status) != 0) return false;
  return absl::StrCat(status.st_dev, ":", status.st_ino) == journal_stream;
}

Log::Log()
    : logger_(
          std::make_shared<spdlog::logger>("fanmirror", std::make_shared<spdlog::sinks::stderr_sink_mt>())) {
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<JournalPriority>('*');
  formatter->set_pattern(IsJournal(STDERR_FILENO, std::getenv("JOURNAL_STREAM")) ? "%*%v"
                                                                                 : "%Y-%m-%d %T.%e %l: %v");
  logger_->set_formatter(std::move(formatter));
  logger_->flush_on(spdlog::level::trace);
  const std::string level = spdlog::details::os::getenv("SPDLOG_LEVEL");
  if (!level.empty()) logger_->set_level(spdlog::level::from_str(level));
}

void Log::Write(Severity severity, std::string_view line) {
  if (!logger_->should_log(LevelOf(severity))) return;
  std::string text = OneLine(line);
  {
    std::lock_guard lock(mutex_);
    const std::optional<std::uint64_t> held_back = repeats_.Admit(text, absl::Now());
    if (!held_back) return;
    if (*held_back > 0) absl::StrAppend(&text, " (", *held_back, " times more since then)");
  }
  logger_->log(LevelOf(severity), spdlog::string_view_t(text.data(), text.size()));
}

}  // namespace fanmirror::daemon
