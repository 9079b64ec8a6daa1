#pragma once

#include <string>
#include <string_view>
#include <utility>

// Questions to sets of paths relative to the root and to maps with such keys (std::string, ordered by
// std::less<>).
namespace fanmirror::apply {

inline const std::string& KeyOf(const std::string& path) { return path; }
template <typename Value>
const std::string& KeyOf(const std::pair<const std::string, Value>& entry) {
  return entry.first;
}

// Whether `path` or a directory above it is a key.
template <typename Paths>
bool CoversPath(const Paths& paths, std::string_view path) {
  if (paths.empty()) return false;
  for (;;) {
    if (paths.find(path) != paths.end()) return true;
    const std::size_t slash = path.rfind('/');
    if (slash == std::string_view::npos) return false;
    path = path.substr(0, slash);
  }
}

// What every path below directory `path` begins with.
inline std::string PrefixBelow(std::string_view path) {
  return path.empty() ? std::string() : std::string(path) + "/";
}

// Whether something below directory `path` is a key.
template <typename Paths>
bool HoldsBelow(const Paths& paths, std::string_view path) {
  if (paths.empty()) return false;
  const std::string prefix = PrefixBelow(path);
  const auto at = paths.lower_bound(prefix);
  return at != paths.end() && KeyOf(*at).starts_with(prefix);
}

}  // namespace fanmirror::apply
