#include "scan/walk.h"

#include <dirent.h>

#include <optional>

#include "scan/descent.h"

namespace fanmirror::scan {
namespace {

// Bytes of paths after which a step ends early: far beyond PATH_MAX a few thousand entries would take
// gigabytes.
constexpr std::size_t kStepPathBytes = 8 << 20;

}  // namespace

struct Walk::State {
  State(const os::Tree* t, const Selection* s, const model::FileId& dir, std::string path)
      : tree(t), selection(s), descent(t, dir, std::move(path)) {}

  // Gives the entry at which `descent` stands, if it belongs to the job and is still there.
  void Take(Step* step);

  const os::Tree* tree;
  const Selection* selection;
  Descent descent;
  bool whole = true;  // every entry of the open directory was given so far
};

void Walk::State::Take(Step* step) {
  const os::Entries::Entry& entry = descent.entry();
  const bool type_known = entry.type != DT_UNKNOWN;
  if (type_known && selection->Excludes(descent.path(), entry.type == DT_DIR)) return;
  std::string name = entry.name;
  absl::StatusOr<std::optional<model::Node>> node = tree->LookAt(descent.dir_fd(), name);
  if (!node.ok()) {
    // The entry is there, but nothing is known of it: to call the directory listed would make it look
    // removed.
    if (whole) step->unreadable.emplace_back(descent.DirPath(), node.status());
    whole = false;
    return;
  }
  if (!node->has_value()) return;
  const bool is_directory = (*node)->metadata.type == model::NodeType::kDirectory;
  const bool was_judged = type_known && is_directory == (entry.type == DT_DIR);
  if (!was_judged && selection->Excludes(descent.path(), is_directory)) return;
  if (is_directory) descent.Push((*node)->id, name);
  step->found.push_back({{descent.dir(), std::move(name)}, descent.path(), **std::move(node)});
}

Walk::Walk(const os::Tree* tree, const Selection* selection, const model::FileId& dir, std::string path)
    : state_(new State(tree, selection, dir, std::move(path))) {}
Walk::~Walk() = default;

Walk::Step Walk::Next(std::size_t max) {
  Step step;
  std::size_t path_bytes = 0;
  // Directories count like entries, so that a step over many empty ones or excluded names ends as well.
  for (std::size_t work = 0; work < max && path_bytes < kStepPathBytes; ++work) {
    switch (state_->descent.Next()) {
      case Descent::Event::kEntry:
        ++step.seen;
        path_bytes += state_->descent.path().size();
        state_->Take(&step);
        break;
      case Descent::Event::kListed:
        if (state_->whole) step.listed.push_back(state_->descent.dir());
        state_->whole = true;
        break;
      case Descent::Event::kUnreadable:
        step.unreadable.emplace_back(state_->descent.path(), state_->descent.error());
        state_->whole = true;
        break;
      case Descent::Event::kGone:
        break;
      case Descent::Event::kDone:
        step.done = true;
        return step;
    }
  }
  return step;
}

}  // namespace fanmirror::scan
