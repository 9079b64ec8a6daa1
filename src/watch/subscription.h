#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "model/change.h"
#include "os/tree.h"
#include "select/filter.h"

namespace fanmirror::watch {

// What one job wants to know of a filesystem.
struct Subscription {
  const os::Tree* tree = nullptr;  // of the job's source; outlives the subscription
  select::Filter filter;
  // Paths relative to the source root whose subtrees are not watched (state directory), beside the filter's.
  std::vector<std::string> ignored;
  // Called on the watcher's thread with changes below the source that are not excluded, coalesced within one
  // read.
  std::function<void(absl::Span<const model::Change>)> changed;
  // Called on the watcher's thread when the kernel's queue overflowed or the watch was renewed: anything may
  // differ.
  std::function<void()> lost;
};

}  // namespace fanmirror::watch
