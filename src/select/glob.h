#pragma once

#include <bitset>
#include <cstddef>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "select/filter.h"

namespace fanmirror::select {

// What one element of an rsync pattern matches.
struct Element {
  enum class Kind {
    kByte,     // one byte out of `bytes`
    kStar,     // any number of bytes except '/'
    kStarStar  // any number of bytes
  };
  Kind kind = Kind::kByte;
  std::bitset<256> bytes;
};
using Glob = std::vector<Element>;

// A rule as regular expressions (RE2, Latin-1, dot matches newline) over the whole path relative to the
// source root, without a trailing '/'. The path matches when one of `anchored` matches all of it, or one of
// `floating` all that follows its start or one of its slashes. None at all: the pattern matches nothing.
struct Expressions {
  std::vector<std::string> anchored;
  std::vector<std::string> floating;
};

// The expressions of rule.pattern, for a directory or for anything else; rule.include and rule.negated do not
// matter here. `root` as for Filter::Compile.
Expressions Translate(const Rule& rule, std::string_view root, bool is_directory);

// Whether the pattern looks at more than the last component of a path.
bool LooksAtParents(std::string_view pattern);
// The most components of a path that a pattern which looks at parents can match: kAnyDepth when nothing bounds them, 0 when
// it does not look at parents.
inline constexpr std::size_t kAnyDepth = std::numeric_limits<std::size_t>::max();
std::size_t DeepestMatch(std::string_view pattern);

}  // namespace fanmirror::select
