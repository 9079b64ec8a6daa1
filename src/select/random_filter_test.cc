#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "select/rsync_test.h"

namespace fanmirror::select {
namespace {

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

TEST(RandomFilterTest, SelectsWhatRsyncSelectsWithRandomRules) {
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

}  // namespace
}  // namespace fanmirror::select
