#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "model/failure.h"
#include "select/filter.h"

namespace fanmirror::select {
namespace {

absl::Status Refuse(std::string_view line, std::string_view why) {
  return model::Failure(model::Reaction::kHaltJob,
                        absl::StrCat("filter rule ", model::QuotePath(line), ": ", std::string(why)));
}

constexpr std::string_view kNoClear =
    "clearing the rules before it is not supported; remove those rules instead";
constexpr std::string_view kEmpty = "the pattern is missing; write one after the '+' or '-' and a space";

struct Word {
  std::string_view name;
  char sign;
};
constexpr Word kWords[] = {{"exclude", '-'},   {"include", '+'}, {"merge", '.'},
                           {"dir-merge", ':'}, {"hide", 'H'},    {"show", 'S'},
                           {"protect", 'P'},   {"risk", 'R'},    {"clear", '!'}};

// Takes the rule's kind off the front of `in`, as its one-letter name, with the ',' that may follow; 0 for
// none.
char TakeKind(std::string_view* in) {
  char kind = in->empty() ? '\0' : in->front();
  std::size_t length = 1;
  if (kind >= 'a' && kind <= 'z') {
    length = std::min(in->find_first_of(" \t_,"), in->size());
    const auto* word = std::find_if(std::begin(kWords), std::end(kWords),
                                    [&](const Word& w) { return w.name == in->substr(0, length); });
    if (word == std::end(kWords)) return '\0';
    kind = word->sign;
  }
  in->remove_prefix(std::min(length, in->size()));
  if (in->starts_with(',')) in->remove_prefix(1);
  return kind;
}

// Why a rule of this kind is refused; empty when it is not.
std::string_view WhyNot(char kind) {
  switch (kind) {
    case '+':
    case '-':
      return "";
    case '.':
    case ':':
      return "merge files are not supported; write their rules here, or name the file in exclude_from";
    case 'H':
    case 'S':
    case 'P':
    case 'R':
      return "rules for one side only are not supported; use '-' or '+'";
    case '!':
      return kNoClear;
    default:
      return "it is none of rsync's rules; begin it with '- ' or '+ '";
  }
}

}  // namespace

absl::StatusOr<std::vector<Rule>> ParseFilterLine(std::string_view line) {
  if (line.empty() || line.front() == '#' || line.front() == ';') return std::vector<Rule>();
  std::string_view rest = line;
  const char kind = TakeKind(&rest);
  if (const std::string_view why = WhyNot(kind); !why.empty()) return Refuse(line, why);
  Rule rule;
  rule.include = kind == '+';
  while (!rest.empty() && rest.front() != ' ' && rest.front() != '_') {
    if (rest.front() == '/') {
      rule.absolute = true;
    } else if (rest.front() == '!') {
      rule.negated = true;
    } else {
      return Refuse(line, absl::StrCat("the modifier '", std::string(1, rest.front()),
                                       "' is not supported, only '/' and '!' are; remove it, or put a space "
                                       "between the sign and the pattern"));
    }
    rest.remove_prefix(1);
  }
  if (!rest.empty()) rest.remove_prefix(1);
  if (rest.empty()) return Refuse(line, kEmpty);
  rule.pattern = std::string(rest);
  return std::vector<Rule>{std::move(rule)};
}

absl::StatusOr<Rule> ParsePattern(std::string_view pattern, bool include) {
  if (pattern == "!") return Refuse(pattern, kNoClear);
  Rule rule;
  rule.include = include;
  std::string_view rest = pattern;
  if (rest.starts_with("- ") || rest.starts_with("+ ")) {
    rule.include = rest.front() == '+';
    rest.remove_prefix(2);
  }
  if (rest.empty()) return Refuse(pattern, kEmpty);
  rule.pattern = std::string(rest);
  return rule;
}

absl::StatusOr<std::vector<Rule>> ParseExcludeFrom(std::string_view text) {
  std::vector<Rule> rules;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of("\r\n"), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line.front() == '#' || line.front() == ';') continue;
    absl::StatusOr<Rule> rule = ParsePattern(line, false);
    if (!rule.ok()) return rule.status();
    rules.push_back(*std::move(rule));
  }
  return rules;
}

}  // namespace fanmirror::select
