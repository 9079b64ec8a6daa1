#pragma once

#include <string>
#include <string_view>

namespace fanmirror::model {

// The path of entry `name` of the directory at `dir`, which is relative to a root ("": the root itself).
inline std::string JoinPath(std::string_view dir, std::string_view name) {
  std::string path;
  path.reserve(dir.size() + 1 + name.size());
  path.append(dir);
  if (!dir.empty()) path += '/';
  return path.append(name);
}

}  // namespace fanmirror::model
