#include "cli/values.h"

#include "gtest/gtest.h"

namespace fanmirror::cli {
namespace {

TEST(ParseDuration, NamesTheOptionInItsRefusal) {
  EXPECT_EQ(*ParseDuration("--settle", "100ms"), absl::Milliseconds(100));
  EXPECT_EQ(*ParseDuration("--settle", "0ms"), absl::ZeroDuration());
  const auto refused = ParseDuration("--settle", "soon");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(std::string(refused.status().message()).substr(0, 15), "--settle 'soon'");
}

TEST(ParseRate, NamesTheOptionInItsRefusal) {
  EXPECT_EQ(*ParseRate("--bwlimit", "50MiB/s"), 50u << 20);
  const auto refused = ParseRate("--bwlimit", "fast");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(std::string(refused.status().message()).substr(0, 16), "--bwlimit 'fast'");
}

TEST(FormatBytes, ChoosesAReadableUnit) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(1023), "1023 B");
  EXPECT_EQ(FormatBytes(1024), "1.0 KiB");
  EXPECT_EQ(FormatBytes(1536.0 * 1024), "1.5 MiB");
  EXPECT_EQ(FormatBytes(3e18), "2664.5 PiB");
}

TEST(FormatSeconds, RoundsUp) {
  EXPECT_EQ(FormatSeconds(0), "0:00");
  EXPECT_EQ(FormatSeconds(6.2), "0:07");
  EXPECT_EQ(FormatSeconds(750), "12:30");
  EXPECT_EQ(FormatSeconds(3 * 3600 + 5 * 60), "3:05:00");
  EXPECT_EQ(FormatSeconds(-3), "0:00");
}

}  // namespace
}  // namespace fanmirror::cli
