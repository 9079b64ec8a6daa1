#include "daemon/log.h"

#include <sys/stat.h>

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace fanmirror::daemon {
namespace {

const absl::Time kBegin = absl::FromUnixSeconds(1'000'000);

TEST(RepeatFilter, HoldsBackTheSameLineForItsInterval) {
  RepeatFilter filter;
  EXPECT_EQ(filter.Admit("a", kBegin), 0u);
  EXPECT_EQ(filter.Admit("a", kBegin + absl::Seconds(1)), std::nullopt);
  EXPECT_EQ(filter.Admit("b", kBegin + absl::Seconds(1)), 0u);
  EXPECT_EQ(filter.Admit("a", kBegin + absl::Seconds(2)), std::nullopt);
  EXPECT_EQ(filter.Admit("a", kBegin + RepeatFilter::kInterval), 2u);
  EXPECT_EQ(filter.Admit("a", kBegin + RepeatFilter::kInterval * 2), 0u);
}

TEST(RepeatFilter, KeepsABoundedNumberOfLines) {
  RepeatFilter filter;
  for (std::size_t i = 0; i < 10 * RepeatFilter::kMaxLines; ++i)
    EXPECT_EQ(filter.Admit(absl::StrCat(i), kBegin), 0u);
  EXPECT_EQ(filter.Admit("0", kBegin), 0u);  // forgotten, so shown again
}

TEST(OneLine, EscapesWhatWouldBreakOrRedrawALine) {
  EXPECT_EQ(OneLine("a\nb\x1b[2J\x7f"), "a\\x0ab\\x1b[2J\\x7f");
  EXPECT_EQ(OneLine("grün"), "grün");
}

TEST(IsJournal, ComparesDeviceAndInode) {
  struct stat status {};
  ASSERT_EQ(::stat("/dev/null", &status), 0);
  std::FILE* file = std::fopen("/dev/null", "w");
  ASSERT_NE(file, nullptr);
  EXPECT_TRUE(IsJournal(fileno(file), absl::StrCat(status.st_dev, ":", status.st_ino).c_str()));
  EXPECT_FALSE(IsJournal(fileno(file), absl::StrCat(status.st_dev, ":", status.st_ino + 1).c_str()));
  EXPECT_FALSE(IsJournal(fileno(file), nullptr));
  std::fclose(file);
}

// stderr as a file, as long as it lives.
class CapturedStderr {
 public:
  CapturedStderr() { ::testing::internal::CaptureStderr(); }
  std::string Take() { return ::testing::internal::GetCapturedStderr(); }
};

TEST(Log, WritesALineWithTimeAndSeverityAndHoldsBackRepeats) {
  CapturedStderr captured;
  Log log;
  log.Write(Severity::kWarning, "disk\nfull");
  log.Write(Severity::kWarning, "disk\nfull");
  log.Write(Severity::kDebug, "not shown");
  const std::string text = captured.Take();
  EXPECT_NE(text.find("warning: disk\\x0afull\n"), std::string::npos) << text;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
}

TEST(Log, PrefixesThePriorityForTheJournal) {
  CapturedStderr captured;
  struct stat status {};
  ASSERT_EQ(::fstat(2, &status), 0);
  ::setenv("JOURNAL_STREAM", absl::StrCat(status.st_dev, ":", status.st_ino).c_str(), 1);
  Log log;
  log.Write(Severity::kInfo, "one");
  log.Write(Severity::kWarning, "two");
  log.Write(Severity::kError, "three");
  ::unsetenv("JOURNAL_STREAM");
  EXPECT_EQ(captured.Take(), "<6>one\n<4>two\n<3>three\n");
}

}  // namespace
}  // namespace fanmirror::daemon
