#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace fanmirror::select {

// One rule with rsync's syntax and meaning. Rules are tried in order; the first that matches decides; a name that no
// rule matches is included.
struct Rule {
  bool include = false;  // '+' or '-'
  std::string pattern;   // as after "- " or "+ " in an rsync filter file
};

// Reads one rsync filter line: "- PATTERN", "+ PATTERN", "exclude PATTERN", "include PATTERN", the modifiers "/" and
// "!" ; a line that is empty or begins with '#' or ';' yields no rule. Anything else (merge files, hide, protect,
// risk ...) is an error that says so.
absl::StatusOr<std::vector<Rule>> ParseFilterLine(std::string_view line);
// Reads the text of an --exclude-from file: a pattern a line, "+ " and "- " prefixes honoured as rsync does.
absl::StatusOr<std::vector<Rule>> ParseExcludeFrom(std::string_view text);

// The rules of a job, compiled once. Immutable, thread-safe; a test costs well below a microsecond.
class Filter {
 public:
  static absl::StatusOr<Filter> Compile(const std::vector<Rule>& rules);
  Filter() = default;  // includes everything

  // Whether this very entry is excluded, its parents being included. `path` is relative to the source root, without
  // leading '/'; any bytes.
  bool Excludes(std::string_view path, bool is_directory) const;
  // Whether the entry or one of its parents is excluded.
  bool ExcludesWithParents(std::string_view path, bool is_directory) const;
  // Whether some rule looks at more than the last component: then a moved directory changes what is excluded below it.
  bool depends_on_parents() const;
  bool empty() const;

 private:
  struct Compiled;
  std::shared_ptr<const Compiled> compiled_;
};

}  // namespace fanmirror::select
