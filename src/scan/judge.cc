#include "scan/judge.h"

#include <dirent.h>

namespace fanmirror::scan {

absl::StatusOr<std::optional<model::Node>> JudgeEntry(const os::Tree& tree, const Selection& selection,
                                                      int dir_fd, const std::string& name,
                                                      const std::string& path, unsigned char type) {
  const bool type_known = type != DT_UNKNOWN;
  if (type_known && selection.Excludes(path, type == DT_DIR)) return std::nullopt;
  absl::StatusOr<std::optional<model::Node>> node = tree.LookAt(dir_fd, name);
  if (!node.ok() || !node->has_value()) return node;
  const bool is_directory = (*node)->metadata.type == model::NodeType::kDirectory;
  const bool was_judged = type_known && is_directory == (type == DT_DIR);
  if (!was_judged && selection.Excludes(path, is_directory)) return std::nullopt;
  return node;
}

}  // namespace fanmirror::scan
