#include "select/filter.h"

#include <re2/re2.h>
#include <re2/set.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "model/failure.h"
#include "select/glob.h"

namespace fanmirror::select {
namespace {

// For the program of one expression and for its automaton, which grows with the variety of the paths; RE2
// starts the automaton anew when it is full.
constexpr std::int64_t kExpressionBytes = 16 << 20;

RE2::Options ExpressionOptions() {
  RE2::Options options;
  options.set_encoding(RE2::Options::EncodingLatin1);
  options.set_dot_nl(true);
  options.set_never_capture(true);
  options.set_log_errors(false);
  options.set_max_mem(kExpressionBytes);
  return options;
}

absl::Status TooComplex() {
  return model::Failure(
      model::Reaction::kHaltJob,
      "the include and exclude rules are too many or too long to compile; use fewer, shorter ones");
}

re2::StringPiece Piece(std::string_view text) { return {text.data(), text.size()}; }

// Adjacent rules of the same effect, as one expression: which of them matches does not matter.
struct Group {
  bool include = false;
  bool negated = false;
  Expressions expressions;

  std::string Pattern() const {
    std::vector<std::string> alternatives = expressions.anchored;
    if (!expressions.floating.empty()) {
      alternatives.push_back(absl::StrCat("(?:.*/)?(?:", absl::StrJoin(expressions.floating, "|"), ")"));
    }
    if (alternatives.empty()) return "[^\\x00-\\xff]";  // matches nothing
    return absl::StrCat("(?:", absl::StrJoin(alternatives, "|"), ")");
  }
};

std::vector<Group> MakeGroups(const std::vector<Rule>& rules, std::string_view root, bool is_directory) {
  std::vector<Group> groups;
  for (const Rule& rule : rules) {
    Expressions expressions = Translate(rule, root, is_directory);
    if (groups.empty() || rule.negated || groups.back().negated || groups.back().include != rule.include) {
      groups.push_back({rule.include, rule.negated, {}});
    }
    Expressions& into = groups.back().expressions;
    into.anchored.insert(into.anchored.end(), expressions.anchored.begin(), expressions.anchored.end());
    into.floating.insert(into.floating.end(), expressions.floating.begin(), expressions.floating.end());
  }
  return groups;
}

// The rules as they are for directories, or for all else.
class Matcher {
 public:
  absl::Status Build(std::vector<Group> groups) {
    groups_ = std::move(groups);
    const RE2::Options options = ExpressionOptions();
    if (groups_.size() > 1) set_ = std::make_unique<RE2::Set>(options, RE2::ANCHOR_BOTH);
    for (const Group& group : groups_) {
      const std::string pattern = group.Pattern();
      expressions_.push_back(std::make_unique<RE2>(pattern, options));
      if (!expressions_.back()->ok()) return TooComplex();
      if (set_ != nullptr && set_->Add(pattern, nullptr) < 0) return TooComplex();
    }
    if (set_ != nullptr && !set_->Compile()) return TooComplex();
    for (Group& group : groups_) group.expressions = {};
    return absl::OkStatus();
  }

  bool Excludes(std::string_view path) const {
    if (groups_.empty()) return false;
    if (set_ == nullptr) return MatchesOne(0, path) != groups_[0].negated && !groups_[0].include;
    thread_local std::vector<int> matched;
    RE2::Set::ErrorInfo error = {};
    error.kind = RE2::Set::kNoError;
    set_->Match(Piece(path), &matched, &error);
    if (error.kind == RE2::Set::kOutOfMemory) return ExcludesOneByOne(path);
    thread_local std::vector<bool> matches;
    matches.assign(groups_.size(), false);
    for (const int index : matched) matches[static_cast<std::size_t>(index)] = true;
    for (std::size_t i = 0; i < groups_.size(); ++i) {
      if (matches[i] != groups_[i].negated) return !groups_[i].include;
    }
    return false;
  }

 private:
  bool MatchesOne(std::size_t i, std::string_view path) const {
    return expressions_[i]->Match(Piece(path), 0, path.size(), RE2::ANCHOR_BOTH, nullptr, 0);
  }

  // The set's automaton has no other way when its memory is not enough; single expressions have.
  bool ExcludesOneByOne(std::string_view path) const {
    for (std::size_t i = 0; i < groups_.size(); ++i) {
      if (MatchesOne(i, path) != groups_[i].negated) return !groups_[i].include;
    }
    return false;
  }

  std::vector<Group> groups_;
  std::vector<std::unique_ptr<RE2>> expressions_;  // one a group
  std::unique_ptr<RE2::Set> set_;                  // all groups at once, when there are several
};

std::string TextOf(const std::vector<Rule>& rules, std::string_view root) {
  std::string text = absl::StrCat("root ", absl::CEscape(std::string(root)), "\n");
  for (const Rule& rule : rules) {
    absl::StrAppend(&text, rule.include ? "+" : "-", rule.negated ? "!" : "", rule.absolute ? "/" : "", " ",
                    absl::CEscape(rule.pattern), "\n");
  }
  return text;
}

absl::Status CheckPattern(const Rule& rule) {
  const auto refuse = [&](std::string_view why) {
    return model::Failure(model::Reaction::kHaltJob,
                          absl::StrCat("pattern ", model::QuotePath(rule.pattern), " ", std::string(why)));
  };
  if (rule.pattern.empty()) return refuse("is empty; remove it");
  if (rule.pattern.size() > kMaxPatternBytes)
    return refuse(absl::StrCat("is longer than ", kMaxPatternBytes, " bytes; shorten it"));
  if (rule.pattern.find('\0') != std::string::npos) {
    return refuse("holds a NUL byte, which no file name has; remove it");
  }
  return absl::OkStatus();
}

}  // namespace

struct Filter::Compiled {
  Matcher directories;
  Matcher others;
  std::size_t deepest = 0;  // of the rules: see DeepestMatch
  std::string text;
};

absl::StatusOr<Filter> Filter::Compile(const std::vector<Rule>& rules, std::string_view root) {
  Filter filter;
  if (rules.empty()) return filter;
  if (rules.size() > kMaxRules) return TooComplex();
  auto compiled = std::make_shared<Compiled>();
  for (const Rule& rule : rules) {
    if (absl::Status status = CheckPattern(rule); !status.ok()) return status;
    compiled->deepest = std::max(compiled->deepest, DeepestMatch(rule.pattern));
  }
  if (absl::Status status = compiled->directories.Build(MakeGroups(rules, root, true)); !status.ok())
    return status;
  if (absl::Status status = compiled->others.Build(MakeGroups(rules, root, false)); !status.ok())
    return status;
  compiled->text = TextOf(rules, root);
  filter.compiled_ = std::move(compiled);
  return filter;
}

bool Filter::Excludes(std::string_view path, bool is_directory) const {
  if (compiled_ == nullptr || path.empty()) return false;
  return is_directory ? compiled_->directories.Excludes(path) : compiled_->others.Excludes(path);
}

bool Filter::ExcludesWithParents(std::string_view path, bool is_directory) const {
  if (compiled_ == nullptr) return false;
  for (std::size_t slash = path.find('/'); slash != std::string_view::npos;
       slash = path.find('/', slash + 1)) {
    if (Excludes(path.substr(0, slash), true)) return true;
  }
  return Excludes(path, is_directory);
}

bool Filter::DependsOnPlace(std::string_view path) const {
  if (compiled_ == nullptr) return false;
  const std::size_t components = path.empty() ? 0 : 1 + std::count(path.begin(), path.end(), '/');
  return components < compiled_->deepest;
}

bool Filter::empty() const { return compiled_ == nullptr; }

std::string Filter::text() const { return compiled_ == nullptr ? std::string() : compiled_->text; }

}  // namespace fanmirror::select
