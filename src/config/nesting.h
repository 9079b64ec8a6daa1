#pragma once

#include <toml++/toml.h>

#include <optional>
#include <string_view>

namespace fanmirror::config {

// The first place of a TOML text where more than kMaxNesting brackets are open, or where a line has more than
// kMaxNesting dots, strings and comments apart. Beyond that the parser, or the release of its tables, could
// use up the stack: it bounds the depth of arrays, but not that of dotted keys.
std::optional<toml::source_region> FindDeepNesting(std::string_view text);

}  // namespace fanmirror::config
