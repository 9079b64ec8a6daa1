#include "scan/walk.h"

#include <optional>
#include <utility>

#include "os/clock.h"
#include "scan/descent.h"
#include "scan/judge.h"
#include "scan/threaded_walk.h"

namespace fanmirror::scan {
namespace {

// Bytes of paths after which a step ends early: far beyond PATH_MAX a few thousand entries would take
// gigabytes.
constexpr std::size_t kStepPathBytes = 8 << 20;

// By the thread that asks, depth first.
class DescentWalk : public Walk {
 public:
  DescentWalk(const os::Tree* tree, const Selection* selection, const model::FileId& dir, std::string path)
      : tree_(tree), selection_(selection), descent_(tree, dir, std::move(path)) {}

  Step Next(std::size_t max) override;

 private:
  // Gives the entry at which `descent_` stands, if it belongs to the job and is still there.
  void Take(Step* step);

  const os::Tree* tree_;
  const Selection* selection_;
  Descent descent_;
  bool whole_ = true;  // every entry of the open directory was given so far
};

void DescentWalk::Take(Step* step) {
  std::string name = descent_.entry().name;
  absl::StatusOr<std::optional<model::Node>> node =
      JudgeEntry(*tree_, *selection_, descent_.dir_fd(), name, descent_.path(), descent_.entry().type);
  if (!node.ok()) {
    // The entry is there, but nothing is known of it: to call the directory listed would make it look
    // removed.
    if (whole_) step->unreadable.emplace_back(descent_.DirPath(), node.status());
    whole_ = false;
    return;
  }
  if (!node->has_value()) return;
  if ((*node)->metadata.type == model::NodeType::kDirectory) descent_.Push((*node)->id, name);
  step->found.push_back({{descent_.dir(), std::move(name)}, descent_.path(), **std::move(node)});
}

Walk::Step DescentWalk::Next(std::size_t max) {
  Step step;
  step.begun_ns = os::BoottimeNs();
  std::size_t path_bytes = 0;
  // Directories count like entries, so that a step over many empty ones or excluded names ends as well.
  for (std::size_t work = 0; work < max && path_bytes < kStepPathBytes; ++work) {
    switch (descent_.Next()) {
      case Descent::Event::kEntry:
        ++step.seen;
        path_bytes += descent_.path().size();
        Take(&step);
        break;
      case Descent::Event::kListed:
        if (whole_) step.listed.push_back(descent_.dir());
        whole_ = true;
        break;
      case Descent::Event::kUnreadable:
        step.unreadable.emplace_back(descent_.path(), descent_.error());
        whole_ = true;
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

}  // namespace

std::unique_ptr<Walk> Walk::Begin(const os::Tree* tree, const Selection* selection, const model::FileId& dir,
                                  std::string path, int threads) {
  if (threads > 1) return std::make_unique<ThreadedWalk>(tree, selection, dir, std::move(path), threads);
  return std::make_unique<DescentWalk>(tree, selection, dir, std::move(path));
}

}  // namespace fanmirror::scan
