#include "scan/walk.h"

namespace fanmirror::scan {
namespace {

// At the root of a target it is the receiver's own; so a source's entry of that name has no place there.
constexpr std::string_view kReceiversOwn = ".fanmirror";

bool IsBelow(std::string_view path, std::string_view dir) {
  return path.size() > dir.size() && path.starts_with(dir) && path[dir.size()] == '/';
}

}  // namespace

bool Selection::Excludes(std::string_view path, bool is_directory) const {
  if (path.empty()) return false;
  if (path == kReceiversOwn) return true;
  for (const std::string& subtree : ignored) {
    if (path == subtree) return true;
  }
  return filter.Excludes(path, is_directory);
}

bool Selection::ExcludesWithParents(std::string_view path, bool is_directory) const {
  if (path.empty()) return false;
  if (path == kReceiversOwn || IsBelow(path, kReceiversOwn)) return true;
  for (const std::string& subtree : ignored) {
    if (!subtree.empty() && (path == subtree || IsBelow(path, subtree))) return true;
  }
  return filter.ExcludesWithParents(path, is_directory);
}

}  // namespace fanmirror::scan
