#include "select/filter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "select/rsync_test.h"

namespace fanmirror::select {
namespace {

Tree StandardTree() {
  Tree tree;
  for (const char* directory : {"a",       "a/a",         "a/b",       "a/b/c",          "a/b/c/d",     "foo",
                                "foo/bar", "foo/bar/baz", "foo/x",     "foo/x/bar",      "cache",       "x",
                                "x/cache", "x/foo",       "x/foo/bar", "x/foo/bar/deep", "dir.d",       "[b]",
                                "sp ace",  "back\\slash", "new\nline", "\xff\xfe",       "caf\xc3\xa9", "**",
                                "x/y",     "x/y/z"}) {
    tree[directory] = true;
  }
  // clang-format off
  for (const char* file : {
        "a.tmp", "b.c", "b.o", ".hidden", "a/file", "a/a/a", "a/a/x.tmp", "a/b/x.o", "a/b/c/x.c",
        "a/b/c/d/x.tmp", "a/b/link", "foo/file", "foo/bar/file", "foo/bar/baz/file", "foo/x/bar/file",
        "foo/foo", "cache/1", "x/cache/2", "x/foo/bar/file", "x/foo/bar/deep/file", "x/bar", "dir.d/f",
        "[b]/f", "[b]/[", "b", "^", "!", "]", "[", "-", "[!a]", "sp ace/f f", " lead", "trail ",
        "back\\slash/f", "back\\slash/a*b", "a\\*b", "a*b", "a?b", "axb", "aXb", "a5b", "new\nline/f\n",
        "\n", "\xff\xfe/\x80", "caf\xc3\xa9/\xe9", "**/*", "**/***", "link", "x/y/z/link", "x/y/1", "x/y/_",
        "#comment", ";semi", "+ plus", "- minus", "x/#", "a\tb", "a-b", "a.b", "a+b", "(a|b)", "a{2}", "a$",
        "x/y/z/\x01"}) {
    tree[file] = false;
  }
  // clang-format on
  return tree;
}

const std::vector<std::vector<std::string>>& HandWrittenLists() {
  // clang-format off
  static const std::vector<std::vector<std::string>> lists = {
      {"- *.tmp"}, {"- foo"}, {"- /foo"}, {"- foo/"}, {"- /foo/"}, {"- file/"}, {"- link"}, {"- link/"},
      {"- foo/bar"}, {"- /foo/bar"}, {"- foo/bar/"}, {"- bar/file"}, {"- foo/*/bar"}, {"- /foo/**/bar"},
      {"- foo/**"}, {"- foo/***"}, {"- /foo/***"}, {"- /x/foo/**"}, {"- foo/**/"}, {"- foo/***/"},
      {"+ */", "+ *.c", "- *"}, {"+ foo/", "+ foo/bar.c", "- *"}, {"+ /x/", "+ /x/y/***", "- *"},
      {"+ /a/b/c/d/***", "- *"}, {"+ /a/", "+ /a/b/", "+ /a/b/***", "- *"}, {"+ x.tmp", "- *.tmp"},
      {"- *.tmp", "+ x.tmp"}, {"- *"}, {"- **"}, {"- ***"}, {"- *****"}, {"- /*"}, {"- /**"}, {"- /***"},
      {"- */"}, {"- **/"}, {"- /*/"}, {"- /*/*"}, {"- */*"}, {"- */*/*"}, {"- **/*"}, {"- *.*"}, {"- /"},
      {"- //"}, {"- foo//"}, {"- //foo"}, {"- foo//bar"}, {"- **/file"}, {"- **file"}, {"- **foo/file"},
      {"- **/foo/file"}, {"- a**e"}, {"- a**/x*"}, {"- a/**/x*"}, {"- /a/**/x*"}, {"- **/a/**"},
      {"- **/**"}, {"- **/***"}, {"- f?le"}, {"- a?b"}, {"- ?"}, {"- ??"}, {"- /?/?"}, {"- a[*]b"},
      {"- a\\*b"}, {"- a\\?b"}, {"- a\\\\\\*b"}, {"- a\\\\*b"}, {"- back\\slash"}, {"- back\\slash*"},
      {"- back\\\\slash*"}, {"- back\\slash/*"}, {"- a[xX]b"}, {"- a[!xX]b"}, {"- a[^xX]b"}, {"- a[a-z]b"},
      {"- a[A-Z]b"}, {"- a[[:digit:]]b"}, {"- a[[:alpha:]]b"}, {"- a[![:alnum:]]b"}, {"- a[[:punct:]]b"},
      {"- a[[:space:]]b"}, {"- a[[:blank:]]b"}, {"- a[[:upper:][:digit:]]b"}, {"- a[[:lower:]5]b"},
      {"- a[[:nosuch:]]b"}, {"- a[[:alpha]b"}, {"- a[[:xdigit:]-z]b"}, {"- [[:graph:]]"}, {"- [[:cntrl:]]"},
      {"- [[:print:]]*"}, {"- []]"}, {"- [!]]"}, {"- []-a]"}, {"- [[]"}, {"- [\\]]"}, {"- [a-]"},
      {"- [-a]"}, {"- [--/]"}, {"- a[+--]b"}, {"- [z-a]"}, {"- [!z-a]"}, {"- [\\a-\\z]"}, {"- [^]"},
      {"- [!]"}, {"- ["}, {"- a["}, {"- [a"}, {"- [\\"}, {"- *\\"}, {"- x[/]y"}, {"- x[!a]y"},
      {"- x[.-0]y"}, {"- x?y"}, {"- x\\/y"}, {"- x\\/y*"}, {"- /x[/]y*"}, {"- f[/]oo/*"}, {"- [b]"},
      {"- \\[b]"}, {"- \\[b\\]"}, {"- [[]b]/f"}, {"- *\n*"}, {"- new?line"}, {"- new\nline/"}, {"- \n"},
      {"- ?\xfe"}, {"- \xff*/"}, {"- *\xc3\xa9"}, {"- caf??"}, {"- caf[\x80-\xff]*"}, {"- [[:alpha:]]"},
      {"- sp ace"}, {"-  lead"}, {"- trail "}, {"-_foo"}, {"-__"}, {"- _"}, {"exclude foo"},
      {"exclude_foo"}, {"include foo/", "exclude *"}, {"exclude,! */"}, {"exclude,!/ foo"}, {"-,! */"},
      {"-! */"}, {"-! *.tmp"}, {"-! foo"}, {"-! foo/"}, {"+! */", "- a*"}, {"-! **/file", "- *"},
      {"+! *.tmp", "- *"}, {"-! [", "- x"}, {"-/ foo"}, {"-/ /foo"}, {"-/ top/foo"}, {"-/ top/*"},
      {"-/ top/**/file"}, {"-/ **/top/foo"}, {"-/ **top/foo"}, {"-/ /tmp/*/top/foo"}, {"-/ /**/top/x"},
      {"-/ tmp/**"}, {"-/ top/foo/***"}, {"-/ top/***"}, {"-/ top/**"}, {"-/ */top/foo"}, {"-/ */foo"},
      {"-/ */*/foo/file"}, {"-!/ */top/foo"}, {"-/! foo/*"}, {"-/ [t]op/foo"}, {"-/ **/***"},
      {"-/ t**/file"}, {"+ /.fanmirror", "- *.d"}, {"- (a|b)"}, {"- a{2}"}, {"- a$"}, {"- a.b"}, {"- a+b"},
      {"- ^"}, {"- .*"}, {"- #*"}, {"- ;*"}, {"- +*"}, {"- + *"}, {"- - *"},
      {"- a", "+ b", "- b", "+ c", "- *"}, {"+ x/", "+ y/", "+ 1", "- *", "+ foo"}};
  // clang-format on
  return lists;
}

TEST(FilterTest, SelectsWhatRsyncSelectsWithHandWrittenRules) {
  const Rsync rsync(StandardTree());
  const auto& lists = HandWrittenLists();
  InParallel(lists.size(), [&](std::size_t i) { ExpectSame(rsync, lists[i]); });
}

TEST(FilterTest, AbsoluteRulesUnderOddRoots) {
  const Tree tree = {{"foo", true}, {"foo/file", false}, {"tmp", true}, {"tmp/x", false}};
  for (const char* root : {"", "/", "//"}) {
    const auto filter = Filter::Compile({{.pattern = "/tmp/x", .absolute = true}}, root);
    ASSERT_TRUE(filter.ok());
    EXPECT_TRUE(filter->Excludes("tmp/x", false)) << root;
  }
  for (const char* root : {"/tmp", "/tmp/", "//tmp"}) {
    const auto filter = Filter::Compile({{.pattern = "/tmp/x", .absolute = true}}, root);
    ASSERT_TRUE(filter.ok());
    EXPECT_TRUE(filter->Excludes("x", false)) << root;
    EXPECT_FALSE(filter->Excludes("tmp/x", false)) << root;
  }
}

TEST(FilterTest, OptionsAndFilesReadAsRsyncReadsThem) {
  const Rsync rsync(StandardTree());
  const std::vector<std::string> includes = {"x.tmp", "- foo/file", "/cache/", "+ b.o"};
  const std::vector<std::string> excludes = {"*.tmp", "+ *.c", "b.*", "foo/*", " lead", "cache", "- bar"};
  const std::string text = "\n# x\n;semi\n#comment\r\n*.o\r- [b]\n+ a\n-x\n  \n+ /back*\n/b*\ntrail \n- #*";
  const std::string file = rsync.base() + "/rules";
  std::ofstream(file) << text;

  std::vector<std::string> options;
  std::vector<Rule> rules;
  for (const bool include : {true, false}) {
    for (const std::string& pattern : include ? includes : excludes) {
      options.push_back(absl::StrCat(include ? "--include=" : "--exclude=", pattern));
      rules.push_back(ParsePattern(pattern, include).value());
    }
  }
  options.push_back("--exclude-from=" + file);
  const auto from_file = ParseExcludeFrom(text);
  ASSERT_TRUE(from_file.ok()) << from_file.status();
  rules.insert(rules.end(), from_file->begin(), from_file->end());
  const auto filter = Filter::Compile(rules);
  ASSERT_TRUE(filter.ok()) << filter.status();
  EXPECT_EQ(Selected(*filter, rsync.tree()), rsync.Select(options));
}

TEST(FilterTest, EmptyFilterIncludesEverything) {
  const Filter filter;
  EXPECT_TRUE(filter.empty());
  EXPECT_FALSE(filter.DependsOnPlace("a"));
  EXPECT_FALSE(filter.Excludes("a", false));
  EXPECT_FALSE(filter.ExcludesWithParents("a/b", true));
  EXPECT_TRUE(Filter::Compile({})->empty());
  EXPECT_FALSE(Filter::Compile({{.pattern = "x"}})->empty());
}

TEST(FilterTest, TheRootIsNeverExcluded) {
  const Filter filter = Filter::Compile({{.pattern = "**"}, {.pattern = "x", .negated = true}}).value();
  EXPECT_FALSE(filter.Excludes("", true));
  EXPECT_FALSE(filter.ExcludesWithParents("", true));
}

TEST(FilterTest, TellsWhereThePlaceOfADirectoryMatters) {
  const auto depends = [](const char* pattern, std::string_view path) {
    return Filter::Compile({{.pattern = "x"}, {.pattern = pattern}})->DependsOnPlace(path);
  };
  for (const char* pattern : {"*.tmp", "foo/", "[ab]?"}) EXPECT_FALSE(depends(pattern, "a")) << pattern;
  for (const char* pattern : {"a/b", "**", "a**b", "dir/***", "/a/**"}) EXPECT_TRUE(depends(pattern, "a/b/c")) << pattern;
  for (const char* pattern : {"/", "/foo", "/foo/", "/f*o"}) EXPECT_FALSE(depends(pattern, "a")) << pattern;
  for (const char* pattern : {"/foo/bar", "/foo/*/", "/*/b?r"}) {
    EXPECT_TRUE(depends(pattern, "a")) << pattern;
    EXPECT_FALSE(depends(pattern, "a/b")) << pattern;
  }
}

// What DependsOnPlace denies: two names of a directory such that a path below it is excluded under one only.
TEST(FilterTest, WhereThePlaceDoesNotMatterNoRuleTellsPlacesApart) {
  const std::vector<std::string> patterns = {"/a", "/a/b", "/a/*/", "a/b", "b", "/*/b/a", "[ab]/", "/a[/]b"};
  const std::vector<std::string> places = {"a", "b", "c", "a/b", "b/a", "c/c", "a/b/c", "c/b/a"};
  for (const std::string& pattern : patterns) {
    for (const bool negated : {false, true}) {
      const Filter filter = Filter::Compile({{.pattern = pattern, .negated = negated}}).value();
      for (const std::string& one : places) {
        for (const std::string& other : places) {
          if (filter.DependsOnPlace(one) || filter.DependsOnPlace(other)) continue;
          for (const char* below : {"/a", "/b", "/a/b", "/b/a/b"}) {
            for (const bool directory : {false, true}) {
              EXPECT_EQ(filter.Excludes(one + below, directory), filter.Excludes(other + below, directory))
                  << pattern << ": " << one << " and " << other << below;
            }
          }
        }
      }
    }
  }
}

TEST(FilterTest, RefusesPatternsThatNoNameCanMatchOrThatAreTooLong) {
  const auto message = [](std::string pattern) {
    return std::string(Filter::Compile({{.pattern = std::move(pattern)}}).status().message());
  };
  EXPECT_EQ(message(""), "pattern '' is empty; remove it");
  EXPECT_EQ(message(std::string("a\0b", 3)),
            "pattern 'a\\x00b' holds a NUL byte, which no file name has; remove it");
  EXPECT_THAT(message(std::string(kMaxPatternBytes + 1, 'x')),
              ::testing::HasSubstr("is longer than 4095 bytes"));
  EXPECT_TRUE(Filter::Compile({{.pattern = std::string(kMaxPatternBytes, '*')}}).ok());
  EXPECT_THAT(
      std::string(Filter::Compile(std::vector<Rule>(kMaxRules + 1, Rule{.pattern = "x"})).status().message()),
      ::testing::HasSubstr("too many or too long"));
}

TEST(FilterTest, ManyRulesStayExact) {
  std::vector<Rule> rules;
  for (int i = 0; i < 1000; ++i) {
    rules.push_back({.include = i % 2 == 0, .pattern = absl::StrCat("name", i, "*.x?")});
  }
  const auto filter = Filter::Compile(rules);
  ASSERT_TRUE(filter.ok()) << filter.status();
  for (int i = 0; i < 1000; ++i) {
    // "name1" decides for "name17.xx" already, and so on.
    const int first = i < 10 ? i : std::stoi(std::to_string(i).substr(0, 1));
    EXPECT_EQ(filter->Excludes(absl::StrCat("d/name", i, ".xx"), false), first % 2 == 1) << i;
  }
}

// A guard against a change of order, not a benchmark: it must hold under sanitizers on a busy machine as
// well.
TEST(FilterTest, ATestIsCheap) {
  const Filter filter = Filter::Compile({{.include = true, .pattern = "keep.tmp"},
                                         {.pattern = "*.tmp"},
                                         {.pattern = "/cache/"},
                                         {.pattern = "*~"},
                                         {.pattern = ".*.sw?"},
                                         {.pattern = "node_modules/***"}})
                            .value();
  constexpr int kTests = 100000;
  int excluded = 0;
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < kTests; ++i) {
    excluded += filter.Excludes("srv/uploads/2026/11/23/some-customer/image-000123.jpeg", false) ? 1 : 0;
  }
  const auto each = (std::chrono::steady_clock::now() - start) / kTests;
  EXPECT_EQ(excluded, 0);
  EXPECT_LT(each, std::chrono::microseconds(50));
  RecordProperty("nanoseconds_per_test", absl::StrCat(std::chrono::nanoseconds(each).count()));
}

TEST(FilterText, TellsFiltersApart) {
  const auto text = [](const std::vector<Rule>& rules, std::string_view root) {
    return Filter::Compile(rules, root)->text();
  };
  const Rule rule{.include = false, .pattern = "a b"};
  EXPECT_EQ(text({rule}, "/srv"), text({rule}, "/srv"));
  std::set<std::string> texts = {Filter().text(), text({rule}, "/srv"), text({rule}, "/"), text({rule, rule}, "/srv")};
  for (Rule other : {rule, rule, rule, rule}) {
    if (texts.size() == 4) other.include = true;
    if (texts.size() == 5) other.negated = true;
    if (texts.size() == 6) other.absolute = true;
    if (texts.size() == 7) other.pattern = "a\nb";
    texts.insert(text({other}, "/srv"));
  }
  EXPECT_EQ(texts.size(), 8U);
}

}  // namespace
}  // namespace fanmirror::select
