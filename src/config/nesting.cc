#include "config/nesting.h"

#include <algorithm>
#include <cstddef>

#include "config/limits.h"

namespace fanmirror::config {
namespace {

// The end of the string that starts at `at`: behind its closing quotes, or for a string of one line that is
// not closed, at the line's end (the parser will refuse it there).
std::size_t SkipString(std::string_view text, std::size_t at) {
  const char quote = text[at];
  const std::string_view three = quote == '"' ? "\"\"\"" : "'''";
  const bool multiline = text.substr(at).starts_with(three);
  for (at += multiline ? 3 : 1; at < text.size(); ++at) {
    if (quote == '"' && text[at] == '\\') {
      ++at;
    } else if (!multiline && (text[at] == quote || text[at] == '\n')) {
      return text[at] == quote ? at + 1 : at;
    } else if (multiline && text.substr(at).starts_with(three)) {
      // One or two quotes may stand right before the closing three.
      at += 3;
      for (int i = 0; i < 2 && at < text.size() && text[at] == quote; ++i) ++at;
      return at;
    }
  }
  return text.size();
}

}  // namespace

std::optional<toml::source_region> FindDeepNesting(std::string_view text) {
  std::size_t open = 0;
  std::size_t dots = 0;
  toml::source_index line = 1;
  std::size_t line_start = 0;
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (c == '"' || c == '\'') {
      const std::size_t end = SkipString(text, at);
      const auto skipped = text.substr(at, end - at);
      line += static_cast<toml::source_index>(std::count(skipped.begin(), skipped.end(), '\n'));
      if (const std::size_t last = skipped.rfind('\n'); last != std::string_view::npos)
        line_start = at + last + 1;
      at = end;
      continue;
    }
    if (c == '#') {
      at = std::min(text.find('\n', at), text.size());
      continue;
    }
    if (c == '\n') {
      ++line;
      dots = 0;
      line_start = at + 1;
    } else if (c == '.') {
      ++dots;
    } else if (c == '[' || c == '{') {
      ++open;
    } else if ((c == ']' || c == '}') && open > 0) {
      --open;
    }
    if (open > kMaxNesting || dots > kMaxNesting) {
      const toml::source_position position = {line, static_cast<toml::source_index>(at - line_start + 1)};
      return toml::source_region{position, position, nullptr};
    }
    ++at;
  }
  return std::nullopt;
}

}  // namespace fanmirror::config
