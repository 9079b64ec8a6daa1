#include "plan/paths.h"

#include <vector>

#include "model/path.h"

namespace fanmirror::plan {

using model::FileId;
using model::Name;

std::optional<std::string> Paths::OfDirectory(const FileId& dir) {
  std::vector<Name> below;  // names from `dir` up to the nearest directory whose path is known
  FileId at = dir;
  std::string path;
  for (int depth = 0;; ++depth) {
    if (at == root_) break;
    if (at.is_limbo()) {
      path = kLimboPath;
      break;
    }
    if (auto it = known_.find(at); it != known_.end()) {
      path = it->second;
      break;
    }
    const std::vector<Name> names = view_->NamesOf(at);
    if (names.empty() || depth > kMaxDepth) return std::nullopt;
    below.push_back(names.front());
    at = names.front().dir;
  }
  for (auto it = below.rbegin(); it != below.rend(); ++it) path = model::JoinPath(path, it->name);
  known_[dir] = path;
  return path;
}

std::optional<std::string> Paths::OfName(const Name& name) {
  const auto dir = OfDirectory(name.dir);
  if (!dir) return std::nullopt;
  return model::JoinPath(*dir, name.name);
}

bool Paths::IsWithin(FileId dir, const FileId& ancestor) const {
  for (int depth = 0; depth < kMaxDepth; ++depth) {
    if (dir == ancestor) return true;
    if (dir == root_ || dir.is_limbo()) return false;
    const std::vector<Name> names = view_->NamesOf(dir);
    if (names.empty()) return false;
    dir = names.front().dir;
  }
  return false;
}

}  // namespace fanmirror::plan
