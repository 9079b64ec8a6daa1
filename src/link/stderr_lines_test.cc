#include "link/stderr_lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "link/link_test_support.h"

namespace fanmirror::link {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(StderrLinesTest, JoinsPiecesAndCutsAtNewlines) {
  Lines seen;
  StderrLines lines(seen.Sink());
  lines.Add("on");
  EXPECT_THAT(seen.lines, IsEmpty());
  lines.Add("e\ntwo\r\n\n\nthr");
  EXPECT_THAT(seen.lines, ElementsAre("one", "two"));
  EXPECT_EQ(lines.last_line(), "two");
  lines.Finish();
  EXPECT_THAT(seen.lines, ElementsAre("one", "two", "thr"));
  lines.Finish();
  EXPECT_EQ(seen.lines.size(), 3u);
  EXPECT_EQ(lines.last_line(), "thr");
}

TEST(StderrLinesTest, CutsLongLines) {
  Lines seen;
  StderrLines lines(seen.Sink());
  lines.Add(std::string(2500, 'a') + "\nb\n");
  EXPECT_THAT(seen.lines, ElementsAre(std::string(1000, 'a'), std::string(1000, 'a'), std::string(500, 'a'), "b"));
}

TEST(StderrLinesTest, ALineOfExactlyTheLimitIsOneLine) {
  Lines seen;
  StderrLines lines(seen.Sink());
  lines.Add(std::string(1000, 'a') + "\n" + std::string(1000, 'b') + "\n");
  EXPECT_THAT(seen.lines, ElementsAre(std::string(1000, 'a'), std::string(1000, 'b')));
}

TEST(StderrLinesTest, NeedsNoSink) {
  StderrLines lines(nullptr);
  lines.Add("x\n");
  EXPECT_EQ(lines.last_line(), "x");
}

}  // namespace
}  // namespace fanmirror::link
