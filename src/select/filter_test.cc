#include "select/filter.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace fanmirror::select {
namespace {

// Path -> is a directory. Paths relative to the root; parents come first.
using Tree = std::map<std::string, bool>;
using Names = std::set<std::string>;

// A tree on disk, and the real rsync run on it.
class Rsync {
 public:
  explicit Rsync(const Tree& tree) : tree_(tree) {
    const char* base = std::getenv("TEST_TMPDIR");
    std::string pattern = absl::StrCat(base != nullptr ? base : "/tmp", "/fanmirror-select-XXXXXX");
    if (mkdtemp(pattern.data()) == nullptr) std::abort();
    base_ = std::filesystem::canonical(pattern);
    std::filesystem::create_directory(root());
    std::filesystem::create_directory(base_ + "/empty");
    for (const auto& [path, is_directory] : tree_) {
      const std::string full = absl::StrCat(root(), "/", path);
      if (is_directory) {
        std::filesystem::create_directory(full);
      } else if (path.ends_with("link")) {
        if (symlink("/", full.c_str()) != 0) std::abort();  // to a directory, and yet none
      } else {
        std::ofstream(full).put('x');
      }
    }
  }
  ~Rsync() { std::filesystem::remove_all(base_); }
  Rsync(const Rsync&) = delete;
  Rsync& operator=(const Rsync&) = delete;

  std::string root() const { return base_ + "/top"; }
  std::string base() const { return base_; }
  const Tree& tree() const { return tree_; }

  // What rsync selects with these options. Directories end with '/'.
  Names Select(const std::vector<std::string>& options) const {
    std::vector<std::string> arguments = {"rsync", "-n", "-a", "-8", "--out-format=%n"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    arguments.push_back(root() + "/");
    arguments.push_back(base_ + "/empty/");
    const std::string output = Run(arguments);
    Names names;
    for (std::size_t at = 0; at < output.size();) {
      const std::size_t end = output.find('\n', at);
      names.insert(Unescape(output.substr(at, end - at)));
      at = end + 1;
    }
    names.erase("./");
    return names;
  }

 private:
  static std::string Run(const std::vector<std::string>& arguments) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) std::abort();
    std::vector<char*> argv;
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    const pid_t child = fork();
    if (child == 0) {
      dup2(ends[1], STDOUT_FILENO);
      execvp(argv[0], argv.data());
      _exit(127);
    }
    close(ends[1]);
    std::string output;
    char buffer[4096];
    for (ssize_t n = 0; (n = read(ends[0], buffer, sizeof buffer)) > 0;)
      output.append(buffer, static_cast<std::size_t>(n));
    close(ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0) << "rsync failed: " << absl::CEscape(absl::StrJoin(arguments, " "));
    return output;
  }

  // rsync writes "\#ooo" for control characters, and for a backslash that could be taken for that.
  static std::string Unescape(const std::string& name) {
    std::string out;
    for (std::size_t i = 0; i < name.size(); ++i) {
      if (name.compare(i, 2, "\\#") == 0 && name.size() >= i + 5) {
        out += static_cast<char>(std::stoi(name.substr(i + 2, 3), nullptr, 8));
        i += 4;
      } else {
        out += name[i];
      }
    }
    return out;
  }

  Tree tree_;
  std::string base_;
};

// Calls body(0) to body(count - 1), several at a time: rsync spends its time waiting for its own processes.
template <typename Body>
void InParallel(std::size_t count, const Body& body) {
  constexpr std::size_t kThreads = 12;
  std::atomic<std::size_t> next = 0;
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (std::size_t i = next++; i < count; i = next++) body(i);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

Names Selected(const Filter& filter, const Tree& tree) {
  Names names;
  for (const auto& [path, is_directory] : tree) {
    if (!filter.ExcludesWithParents(path, is_directory)) names.insert(is_directory ? path + "/" : path);
  }
  return names;
}

std::string Show(const std::vector<std::string>& rules) {
  return absl::CEscape(absl::StrJoin(rules, "  ;  "));
}

// Expects that rsync and the filter select the same with these filter lines.
void ExpectSame(const Rsync& rsync, const std::vector<std::string>& lines) {
  std::vector<std::string> options;
  std::vector<Rule> rules;
  for (const std::string& line : lines) {
    options.push_back("--filter=" + line);
    const auto parsed = ParseFilterLine(line);
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    rules.insert(rules.end(), parsed->begin(), parsed->end());
  }
  const auto filter = Filter::Compile(rules, rsync.root());
  ASSERT_TRUE(filter.ok()) << filter.status();
  const Names expected = rsync.Select(options);
  const Names selected = Selected(*filter, rsync.tree());
  std::string wrong;
  for (const auto& [path, is_directory] : rsync.tree()) {
    const std::string name = is_directory ? path + "/" : path;
    if (expected.contains(name) == selected.contains(name)) continue;
    absl::StrAppend(&wrong, "\n  ", expected.contains(name) ? "rsync takes it: " : "rsync leaves it out: ",
                    absl::CEscape(name));
  }
  EXPECT_EQ(wrong, "") << "rules: " << Show(lines);
}

Tree StandardTree() {
  Tree tree;
  for (const char* directory : {"a",       "a/a",         "a/b",       "a/b/c",          "a/b/c/d",     "foo",
                                "foo/bar", "foo/bar/baz", "foo/x",     "foo/x/bar",      "cache",       "x",
                                "x/cache", "x/foo",       "x/foo/bar", "x/foo/bar/deep", "dir.d",       "[b]",
                                "sp ace",  "back\\slash", "new\nline", "\xff\xfe",       "caf\xc3\xa9", "**",
                                "x/y",     "x/y/z"}) {
    tree[directory] = true;
  }
  for (const char* file : {"a.tmp",
                           "b.c",
                           "b.o",
                           ".hidden",
                           "a/file",
                           "a/a/a",
                           "a/a/x.tmp",
                           "a/b/x.o",
                           "a/b/c/x.c",
                           "a/b/c/d/x.tmp",
                           "a/b/link",
                           "foo/file",
                           "foo/bar/file",
                           "foo/bar/baz/file",
                           "foo/x/bar/file",
                           "foo/foo",
                           "cache/1",
                           "x/cache/2",
                           "x/foo/bar/file",
                           "x/foo/bar/deep/file",
                           "x/bar",
                           "dir.d/f",
                           "[b]/f",
                           "[b]/[",
                           "b",
                           "^",
                           "!",
                           "]",
                           "[",
                           "-",
                           "[!a]",
                           "sp ace/f f",
                           " lead",
                           "trail ",
                           "back\\slash/f",
                           "back\\slash/a*b",
                           "a\\*b",
                           "a*b",
                           "a?b",
                           "axb",
                           "aXb",
                           "a5b",
                           "new\nline/f\n",
                           "\n",
                           "\xff\xfe/\x80",
                           "caf\xc3\xa9/\xe9",
                           "**/*",
                           "**/***",
                           "link",
                           "x/y/z/link",
                           "x/y/1",
                           "x/y/_",
                           "#comment",
                           ";semi",
                           "+ plus",
                           "- minus",
                           "x/#",
                           "a\tb",
                           "a-b",
                           "a.b",
                           "a+b",
                           "(a|b)",
                           "a{2}",
                           "a$",
                           "x/y/z/\x01"}) {
    tree[file] = false;
  }
  return tree;
}

const std::vector<std::vector<std::string>>& HandWrittenLists() {
  static const std::vector<std::vector<std::string>> lists = {{"- *.tmp"},
                                                              {"- foo"},
                                                              {"- /foo"},
                                                              {"- foo/"},
                                                              {"- /foo/"},
                                                              {"- file/"},
                                                              {"- link"},
                                                              {"- link/"},
                                                              {"- foo/bar"},
                                                              {"- /foo/bar"},
                                                              {"- foo/bar/"},
                                                              {"- bar/file"},
                                                              {"- foo/*/bar"},
                                                              {"- /foo/**/bar"},
                                                              {"- foo/**"},
                                                              {"- foo/***"},
                                                              {"- /foo/***"},
                                                              {"- /x/foo/**"},
                                                              {"- foo/**/"},
                                                              {"- foo/***/"},
                                                              {"+ */", "+ *.c", "- *"},
                                                              {"+ foo/", "+ foo/bar.c", "- *"},
                                                              {"+ /x/", "+ /x/y/***", "- *"},
                                                              {"+ /a/b/c/d/***", "- *"},
                                                              {"+ /a/", "+ /a/b/", "+ /a/b/***", "- *"},
                                                              {"+ x.tmp", "- *.tmp"},
                                                              {"- *.tmp", "+ x.tmp"},
                                                              {"- *"},
                                                              {"- **"},
                                                              {"- ***"},
                                                              {"- *****"},
                                                              {"- /*"},
                                                              {"- /**"},
                                                              {"- /***"},
                                                              {"- */"},
                                                              {"- **/"},
                                                              {"- /*/"},
                                                              {"- /*/*"},
                                                              {"- */*"},
                                                              {"- */*/*"},
                                                              {"- **/*"},
                                                              {"- *.*"},
                                                              {"- /"},
                                                              {"- //"},
                                                              {"- foo//"},
                                                              {"- //foo"},
                                                              {"- foo//bar"},
                                                              {"- **/file"},
                                                              {"- **file"},
                                                              {"- **foo/file"},
                                                              {"- **/foo/file"},
                                                              {"- a**e"},
                                                              {"- a**/x*"},
                                                              {"- a/**/x*"},
                                                              {"- /a/**/x*"},
                                                              {"- **/a/**"},
                                                              {"- **/**"},
                                                              {"- **/***"},
                                                              {"- f?le"},
                                                              {"- a?b"},
                                                              {"- ?"},
                                                              {"- ??"},
                                                              {"- /?/?"},
                                                              {"- a[*]b"},
                                                              {"- a\\*b"},
                                                              {"- a\\?b"},
                                                              {"- a\\\\\\*b"},
                                                              {"- a\\\\*b"},
                                                              {"- back\\slash"},
                                                              {"- back\\slash*"},
                                                              {"- back\\\\slash*"},
                                                              {"- back\\slash/*"},
                                                              {"- a[xX]b"},
                                                              {"- a[!xX]b"},
                                                              {"- a[^xX]b"},
                                                              {"- a[a-z]b"},
                                                              {"- a[A-Z]b"},
                                                              {"- a[[:digit:]]b"},
                                                              {"- a[[:alpha:]]b"},
                                                              {"- a[![:alnum:]]b"},
                                                              {"- a[[:punct:]]b"},
                                                              {"- a[[:space:]]b"},
                                                              {"- a[[:blank:]]b"},
                                                              {"- a[[:upper:][:digit:]]b"},
                                                              {"- a[[:lower:]5]b"},
                                                              {"- a[[:nosuch:]]b"},
                                                              {"- a[[:alpha]b"},
                                                              {"- a[[:xdigit:]-z]b"},
                                                              {"- [[:graph:]]"},
                                                              {"- [[:cntrl:]]"},
                                                              {"- [[:print:]]*"},
                                                              {"- []]"},
                                                              {"- [!]]"},
                                                              {"- []-a]"},
                                                              {"- [[]"},
                                                              {"- [\\]]"},
                                                              {"- [a-]"},
                                                              {"- [-a]"},
                                                              {"- [--/]"},
                                                              {"- a[+--]b"},
                                                              {"- [z-a]"},
                                                              {"- [!z-a]"},
                                                              {"- [\\a-\\z]"},
                                                              {"- [^]"},
                                                              {"- [!]"},
                                                              {"- ["},
                                                              {"- a["},
                                                              {"- [a"},
                                                              {"- [\\"},
                                                              {"- *\\"},
                                                              {"- x[/]y"},
                                                              {"- x[!a]y"},
                                                              {"- x[.-0]y"},
                                                              {"- x?y"},
                                                              {"- x\\/y"},
                                                              {"- x\\/y*"},
                                                              {"- /x[/]y*"},
                                                              {"- f[/]oo/*"},
                                                              {"- [b]"},
                                                              {"- \\[b]"},
                                                              {"- \\[b\\]"},
                                                              {"- [[]b]/f"},
                                                              {"- *\n*"},
                                                              {"- new?line"},
                                                              {"- new\nline/"},
                                                              {"- \n"},
                                                              {"- ?\xfe"},
                                                              {"- \xff*/"},
                                                              {"- *\xc3\xa9"},
                                                              {"- caf??"},
                                                              {"- caf[\x80-\xff]*"},
                                                              {"- [[:alpha:]]"},
                                                              {"- sp ace"},
                                                              {"-  lead"},
                                                              {"- trail "},
                                                              {"-_foo"},
                                                              {"-__"},
                                                              {"- _"},
                                                              {"exclude foo"},
                                                              {"exclude_foo"},
                                                              {"include foo/", "exclude *"},
                                                              {"exclude,! */"},
                                                              {"exclude,!/ foo"},
                                                              {"-,! */"},
                                                              {"-! */"},
                                                              {"-! *.tmp"},
                                                              {"-! foo"},
                                                              {"-! foo/"},
                                                              {"+! */", "- a*"},
                                                              {"-! **/file", "- *"},
                                                              {"+! *.tmp", "- *"},
                                                              {"-! [", "- x"},
                                                              {"-/ foo"},
                                                              {"-/ /foo"},
                                                              {"-/ top/foo"},
                                                              {"-/ top/*"},
                                                              {"-/ top/**/file"},
                                                              {"-/ **/top/foo"},
                                                              {"-/ **top/foo"},
                                                              {"-/ /tmp/*/top/foo"},
                                                              {"-/ /**/top/x"},
                                                              {"-/ tmp/**"},
                                                              {"-/ top/foo/***"},
                                                              {"-/ top/***"},
                                                              {"-/ top/**"},
                                                              {"-/ */top/foo"},
                                                              {"-/ */foo"},
                                                              {"-/ */*/foo/file"},
                                                              {"-!/ */top/foo"},
                                                              {"-/! foo/*"},
                                                              {"-/ [t]op/foo"},
                                                              {"-/ **/***"},
                                                              {"-/ t**/file"},
                                                              {"+ /.fanmirror", "- *.d"},
                                                              {"- (a|b)"},
                                                              {"- a{2}"},
                                                              {"- a$"},
                                                              {"- a.b"},
                                                              {"- a+b"},
                                                              {"- ^"},
                                                              {"- .*"},
                                                              {"- #*"},
                                                              {"- ;*"},
                                                              {"- +*"},
                                                              {"- + *"},
                                                              {"- - *"},
                                                              {"- a", "+ b", "- b", "+ c", "- *"},
                                                              {"+ x/", "+ y/", "+ 1", "- *", "+ foo"}};
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

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : engine_(seed) {}
  std::size_t Below(std::size_t n) { return static_cast<std::size_t>(engine_() % n); }
  bool OneIn(std::size_t n) { return Below(n) == 0; }
  template <typename T>
  const T& Pick(const std::vector<T>& from) {
    return from[Below(from.size())];
  }

 private:
  std::mt19937_64 engine_;
};

const std::vector<std::string>& NamePool() {
  static const std::vector<std::string> names = {
      "a",    "b",      "c",        "ab",  "ba", "abc", "aab", "foo",  "foo.c", "bar",  "a.b",
      "*",    "**",     "?",        "[",   "]",  "[a]", "[!a", "a\\b", "\\",    "a\nb", "\n",
      "\xff", "a\xffz", "\xc3\xa9", " a",  "a ", "-",   "!a",  "^",    "a-b",   "#a",   "+ a",
      "(a)",  "a|b",    "a$",       "{a}", ".a", "A",   "9",   "_",    "link"};
  return names;
}

Tree RandomTree(Dice* dice) {
  Tree tree;
  std::vector<std::string> directories = {""};
  const std::size_t entries = 20 + dice->Below(50);
  for (std::size_t i = 0; i < entries; ++i) {
    const std::string path = dice->Pick(directories) + dice->Pick(NamePool());
    if (tree.contains(path)) continue;
    const bool is_directory = !path.ends_with("link") && dice->OneIn(3);
    tree[path] = is_directory;
    if (is_directory) directories.push_back(path + "/");
  }
  return tree;
}

std::string RandomAtom(Dice* dice) {
  static const std::vector<std::string> atoms = {"*",
                                                 "*",
                                                 "**",
                                                 "***",
                                                 "?",
                                                 "?",
                                                 "/",
                                                 "/",
                                                 "a",
                                                 "b",
                                                 "c",
                                                 "foo",
                                                 ".c",
                                                 "[ab]",
                                                 "[!a]",
                                                 "[^b]",
                                                 "[a-c]",
                                                 "[]a]",
                                                 "[!]]",
                                                 "[[:alpha:]]",
                                                 "[[:digit:]_]",
                                                 "[![:punct:]]",
                                                 "\\*",
                                                 "\\?",
                                                 "\\[",
                                                 "\\a",
                                                 "\\\\",
                                                 "\\",
                                                 "[",
                                                 "]",
                                                 "[/]",
                                                 "[.-0]",
                                                 "\n",
                                                 "\xff",
                                                 "\xc3\xa9",
                                                 " ",
                                                 "[\x80-\xff]",
                                                 "[a\\]b]",
                                                 "-",
                                                 "[b-]",
                                                 "[[:a]",
                                                 "[[:nope:]]",
                                                 "\\/",
                                                 "//",
                                                 "a/b",
                                                 "/**/",
                                                 "*/",
                                                 "**/a"};
  return dice->Pick(atoms);
}

std::string RandomRule(Dice* dice, const Rsync& rsync) {
  std::string pattern;
  if (dice->OneIn(3)) {
    // Near an existing path, so that long patterns match something too.
    auto at = rsync.tree().begin();
    std::advance(at, static_cast<std::ptrdiff_t>(dice->Below(rsync.tree().size())));
    pattern = at->first;
    for (char& c : pattern) {
      if (dice->OneIn(6)) c = "*?"[dice->Below(2)];
    }
    if (dice->OneIn(3)) pattern.insert(dice->Below(pattern.size() + 1), RandomAtom(dice));
  } else {
    for (std::size_t n = 1 + dice->Below(5); n > 0; --n) pattern += RandomAtom(dice);
  }
  if (dice->OneIn(5)) pattern.insert(0, "/");
  if (dice->OneIn(5)) pattern += dice->Pick<std::string>({"/", "/***", "/**", "***"});
  std::string sign = dice->OneIn(3) ? "+" : "-";
  if (dice->OneIn(8)) sign += "!";
  if (dice->OneIn(8)) {
    sign += "/";
    const std::string base = std::filesystem::path(rsync.base()).filename();
    if (dice->OneIn(2)) {
      pattern.insert(0, dice->Pick<std::string>(
                            {"top/", "/**/top/", "t?p/", rsync.root() + "/", base + "/top/", "**p/"}));
    }
  }
  return absl::StrCat(sign, " ", pattern);
}

TEST(FilterTest, SelectsWhatRsyncSelectsWithRandomRules) {
  // FANMIRROR_SEED=N runs that seed only; FANMIRROR_SEEDS=N runs the first N.
  const char* single = std::getenv("FANMIRROR_SEED");
  const char* count = std::getenv("FANMIRROR_SEEDS");
  const std::uint64_t begin = single != nullptr ? std::stoull(single) : 1;
  const std::uint64_t end = single != nullptr ? begin + 1 : 1 + (count != nullptr ? std::stoull(count) : 400);
  InParallel(end - begin, [&](std::size_t i) {
    if (HasFailure()) return;
    const std::uint64_t seed = begin + i;
    SCOPED_TRACE(absl::StrCat("FANMIRROR_SEED=", seed));
    Dice dice(seed);
    const Rsync rsync(RandomTree(&dice));
    std::vector<std::string> lines;
    for (std::size_t n = 1 + dice.Below(5); n > 0; --n) lines.push_back(RandomRule(&dice, rsync));
    ExpectSame(rsync, lines);
  });
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
  EXPECT_FALSE(filter.depends_on_parents());
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

TEST(FilterTest, TellsWhetherParentsMatter) {
  for (const char* pattern : {"*.tmp", "foo/", "[ab]?", "/"}) {
    EXPECT_EQ(Filter::Compile({{.pattern = pattern}})->depends_on_parents(), std::string(pattern) == "/")
        << pattern;
  }
  for (const char* pattern : {"/foo", "a/b", "**", "a**b", "dir/***"}) {
    EXPECT_TRUE(Filter::Compile({{.pattern = "x"}, {.pattern = pattern}})->depends_on_parents()) << pattern;
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

}  // namespace
}  // namespace fanmirror::select
