#include <dirent.h>

#include "scan/descent.h"
#include "scan/walk.h"

namespace fanmirror::scan {

namespace {

// Finds out whether the entry is a directory and, where it is a regular file, its size. No stat where neither
// needs one. False when the entry does not belong to the job or is gone.
bool Judge(const Descent& descent, const Selection& selection, bool* is_directory, std::uint64_t* size) {
  const os::Entries::Entry& entry = descent.entry();
  *is_directory = entry.type == DT_DIR;
  *size = 0;
  if (entry.type != DT_UNKNOWN && selection.Excludes(descent.path(), *is_directory)) return false;
  if (entry.type != DT_UNKNOWN && entry.type != DT_REG) return true;
  model::Metadata metadata;
  if (os::StatAt(descent.dir_fd(), entry.name, &metadata) != 0) return false;
  *is_directory = metadata.type == model::NodeType::kDirectory;
  if (metadata.type == model::NodeType::kRegular) *size = metadata.size;
  return entry.type != DT_UNKNOWN || !selection.Excludes(descent.path(), *is_directory);
}

}  // namespace

Total Count(const os::Tree& tree, const Selection& selection, const std::atomic<bool>& stop) {
  Total total;
  Descent descent(&tree, tree.root(), "");
  while (!stop.load(std::memory_order_relaxed)) {
    const Descent::Event event = descent.Next();
    if (event == Descent::Event::kDone) break;
    if (event != Descent::Event::kEntry) continue;
    bool is_directory = false;
    std::uint64_t size = 0;
    if (!Judge(descent, selection, &is_directory, &size)) continue;
    if (!is_directory) {
      ++total.files;
      total.bytes += size;
      continue;
    }
    model::FileId id;
    const char* name = descent.entry().name;
    if (os::IdAt(descent.dir_fd(), name, &id) == 0) descent.Push(id, name);
  }
  return total;
}

}  // namespace fanmirror::scan
