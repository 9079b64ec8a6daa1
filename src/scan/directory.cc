#include "scan/directory.h"

#include <dirent.h>

#include "scan/descent.h"

namespace fanmirror::scan {
namespace {

// False when the entry does not belong to the job or is gone.
bool Belongs(const Descent& descent, const Selection& selection) {
  bool is_directory = descent.entry().type == DT_DIR;
  if (descent.entry().type == DT_UNKNOWN) {
    model::Metadata metadata;
    if (os::StatAt(descent.dir_fd(), descent.entry().name, &metadata) != 0) return false;
    is_directory = metadata.type == model::NodeType::kDirectory;
  }
  return !selection.Excludes(descent.path(), is_directory);
}

}  // namespace

absl::Status ForEachName(const os::Tree& tree, const Selection& selection, const model::FileId& dir, const std::string& path,
                         absl::FunctionRef<bool(const std::string& name)> visit) {
  Descent descent(&tree, dir, path);
  for (;;) {
    switch (descent.Next()) {
      case Descent::Event::kEntry:
        if (Belongs(descent, selection) && !visit(descent.entry().name)) return absl::OkStatus();
        break;
      case Descent::Event::kUnreadable:
        return descent.error();
      case Descent::Event::kListed:
      case Descent::Event::kGone:
      case Descent::Event::kDone:
        return absl::OkStatus();
    }
  }
}

}  // namespace fanmirror::scan
