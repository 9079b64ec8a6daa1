#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace fanmirror::apply {

// Takes a line that begins with `key` off the front of `text`, and gives what follows the key. nullopt, and `text` untouched,
// when the next line is another or has no end. For the small files of ours beside a target's data.
inline std::optional<std::string> TakeLine(std::string_view key, std::string_view* text) {
  const std::size_t end = text->find('\n');
  if (end == std::string_view::npos || !text->starts_with(key)) return std::nullopt;
  std::string value(text->substr(key.size(), end - key.size()));
  text->remove_prefix(end + 1);
  return value;
}

}  // namespace fanmirror::apply
