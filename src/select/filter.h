#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace fanmirror::select {

// rsync ignores longer ones silently (its MAXPATHLEN); we refuse them.
inline constexpr std::size_t kMaxPatternBytes = 4095;
// Keeps the compiled rules within memory; far above what people write.
inline constexpr std::size_t kMaxRules = 10000;

// One rule with rsync's syntax and meaning. Rules are tried in order; the first that matches decides; a name
// that no rule matches is included.
struct Rule {
  bool include = false;   // '+' or '-'
  std::string pattern;    // as after "- " or "+ " in an rsync filter file
  bool negated = false;   // the modifier '!': the rule applies to what the pattern does not match
  bool absolute = false;  // the modifier '/': a pattern with '/' or '**' is matched against the absolute path
  friend bool operator==(const Rule&, const Rule&) = default;
};

// Reads one rsync filter line: "- PATTERN", "+ PATTERN", "exclude PATTERN", "include PATTERN", the modifiers
// "/" and
// "!" ; a line that is empty or begins with '#' or ';' yields no rule. Anything else (merge files, hide,
// protect, risk ...) is an error that says so.
absl::StatusOr<std::vector<Rule>> ParseFilterLine(std::string_view line);
// Reads the text of an --exclude-from file: a pattern a line, "+ " and "- " prefixes honoured as rsync does.
absl::StatusOr<std::vector<Rule>> ParseExcludeFrom(std::string_view text);
// Reads the value of an --exclude (`include` false) or --include option: a pattern; "+ " and "- " prefixes
// honoured as rsync does.
absl::StatusOr<Rule> ParsePattern(std::string_view pattern, bool include);

// The rules of a job, compiled once. Immutable, thread-safe; a test costs well below a microsecond.
class Filter {
 public:
  // `root` is the absolute path of the source, for rules with `absolute`; empty: as if the source were "/".
  static absl::StatusOr<Filter> Compile(const std::vector<Rule>& rules, std::string_view root = "");
  Filter() = default;  // includes everything

  // Whether this very entry is excluded, its parents being included. `path` is relative to the source root,
  // without leading '/'; any bytes. The root itself ("") is never excluded.
  bool Excludes(std::string_view path, bool is_directory) const;
  // Whether the entry or one of its parents is excluded.
  bool ExcludesWithParents(std::string_view path, bool is_directory) const;
  // Whether what is excluded below the directory `path` depends on where it lies: some rule looks at more than the last
  // component, and reaches deeper than `path`. A directory that moves between two places where it does not takes along
  // what is excluded below it.
  bool DependsOnPlace(std::string_view path) const;
  bool empty() const;
  // The rules and the root that it was compiled from, as one text: equal texts, equal filters. For comparing.
  std::string text() const;

 private:
  struct Compiled;
  std::shared_ptr<const Compiled> compiled_;
};

}  // namespace fanmirror::select
