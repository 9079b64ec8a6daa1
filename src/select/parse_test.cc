#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "select/filter.h"

namespace fanmirror::select {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(ParseFilterLineTest, ReadsSignsWordsAndModifiers) {
  const auto parse = [](const char* line) { return ParseFilterLine(line).value(); };
  EXPECT_THAT(parse("- a b "), ElementsAre(Rule{.pattern = "a b "}));
  EXPECT_THAT(parse("+ x"), ElementsAre(Rule{.include = true, .pattern = "x"}));
  EXPECT_THAT(parse("-_x"), ElementsAre(Rule{.pattern = "x"}));
  EXPECT_THAT(parse("-  x"), ElementsAre(Rule{.pattern = " x"}));
  EXPECT_THAT(parse("exclude x"), ElementsAre(Rule{.pattern = "x"}));
  EXPECT_THAT(parse("include_x"), ElementsAre(Rule{.include = true, .pattern = "x"}));
  EXPECT_THAT(parse("exclude,!/ x"), ElementsAre(Rule{.pattern = "x", .negated = true, .absolute = true}));
  EXPECT_THAT(parse("-! x"), ElementsAre(Rule{.pattern = "x", .negated = true}));
  EXPECT_THAT(parse("+,/ x"), ElementsAre(Rule{.include = true, .pattern = "x", .absolute = true}));
  EXPECT_THAT(parse(""), IsEmpty());
  EXPECT_THAT(parse("# - x"), IsEmpty());
  EXPECT_THAT(parse("; - x"), IsEmpty());
}

TEST(ParseFilterLineTest, RefusesTheRestByName) {
  const auto message = [](const char* line) { return std::string(ParseFilterLine(line).status().message()); };
  for (const char* line : {". file", "merge file", ": .rules", "dir-merge .rules", "dir-merge,- .rules"}) {
    EXPECT_THAT(message(line), HasSubstr("merge files are not supported")) << line;
  }
  for (const char* line : {"H x", "hide x", "S x", "show x", "P x", "protect x", "R x", "risk x"}) {
    EXPECT_THAT(message(line), HasSubstr("rules for one side only are not supported")) << line;
  }
  for (const char* line : {"!", "clear"}) EXPECT_THAT(message(line), HasSubstr("clearing the rules")) << line;
  for (const char* line : {"foo", "*.tmp", " - x", "/x", "excluded x"}) {
    EXPECT_THAT(message(line), HasSubstr("none of rsync's rules")) << line;
  }
  for (const char* line : {"-", "- ", "+", "exclude", "exclude ", "-!"}) {
    EXPECT_THAT(message(line), HasSubstr("the pattern is missing")) << line;
  }
  EXPECT_EQ(message("-s x"),
            "filter rule '-s x': the modifier 's' is not supported, only '/' and '!' are; remove it, or put "
            "a space "
            "between the sign and the pattern");
  EXPECT_THAT(message("-x"), HasSubstr("the modifier 'x'"));
}

TEST(ParsePatternTest, HonoursPrefixes) {
  EXPECT_EQ(ParsePattern("x", false).value(), (Rule{.pattern = "x"}));
  EXPECT_EQ(ParsePattern("x", true).value(), (Rule{.include = true, .pattern = "x"}));
  EXPECT_EQ(ParsePattern("+ x", false).value(), (Rule{.include = true, .pattern = "x"}));
  EXPECT_EQ(ParsePattern("- x", true).value(), (Rule{.pattern = "x"}));
  EXPECT_EQ(ParsePattern("-x", false).value(), (Rule{.pattern = "-x"}));
  EXPECT_EQ(ParsePattern("!x", false).value(), (Rule{.pattern = "!x"}));
  EXPECT_FALSE(ParsePattern("", false).ok());
  EXPECT_FALSE(ParsePattern("- ", false).ok());
  EXPECT_FALSE(ParsePattern("!", false).ok());
}

TEST(ParseExcludeFromTest, ReadsLines) {
  EXPECT_THAT(ParseExcludeFrom("").value(), IsEmpty());
  EXPECT_THAT(ParseExcludeFrom("\n\r\n# x\n; y\n").value(), IsEmpty());
  EXPECT_THAT(ParseExcludeFrom("a\r\n+ b\n- c\r d").value(),
              ElementsAre(Rule{.pattern = "a"}, Rule{.include = true, .pattern = "b"}, Rule{.pattern = "c"},
                          Rule{.pattern = " d"}));
  EXPECT_THAT(std::string(ParseExcludeFrom("a\n!\n").status().message()), HasSubstr("clearing the rules"));
}

}  // namespace
}  // namespace fanmirror::select
