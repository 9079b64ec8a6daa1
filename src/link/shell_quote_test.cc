#include <gtest/gtest.h>

#include "link/link.h"
#include "link/link_test_support.h"

namespace fanmirror::link {
namespace {

TEST(ShellQuoteTest, TheShellGivesBackWhatWasQuoted) {
  const std::string all_bytes = [] {
    std::string s;
    for (int c = 1; c < 256; ++c) s += static_cast<char>(c);
    return s;
  }();
  for (const std::string& argument : {std::string("plain"), std::string(""), std::string("a b"), std::string("it's"),
                                      std::string("$(reboot) `x` \"\\ \n"), std::string("-n"), all_bytes}) {
    auto link = StartLocal({"/bin/sh", "-c", "printf %s " + ShellQuote(argument)}, nullptr);
    ASSERT_TRUE(link.ok()) << link.status();
    std::string received;
    ReadToEnd(**link, &received).IgnoreError();
    EXPECT_EQ(received, argument);
  }
}

TEST(ShellQuoteTest, LeavesPlainWordsReadable) {
  EXPECT_EQ(ShellQuote("/usr/sbin/fanmirror"), "/usr/sbin/fanmirror");
  EXPECT_EQ(ShellQuote("--root=/srv/a"), "--root=/srv/a");
  EXPECT_EQ(ShellQuote("~"), "'~'");
}

}  // namespace
}  // namespace fanmirror::link
