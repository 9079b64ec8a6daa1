#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "watch/event.h"
#include "watch/selection.h"

namespace fanmirror::watch {

// What one buffer of events means for the selections: parses, drops the events of some processes, offers the
// rest, and flushes. A single-threaded part of the watcher, apart so that it can be fed with buffers that no
// kernel would give.
class EventDispatch {
 public:
  struct Tally {
    std::uint64_t events = 0;
    std::uint64_t overflows = 0;
    std::uint64_t filesystem_errors = 0;
  };

  void Add(Subscription subscription) { selections_.emplace_back(std::move(subscription)); }
  // Events of process `own_pid` are dropped: what we write ourselves is nobody's change.
  Tally Dispatch(std::string_view buffer, int own_pid);
  // Tells all that anything may differ.
  void Lose();

 private:
  void Offer(const Event& event, Tally* tally);

  std::vector<Selection> selections_;
};

}  // namespace fanmirror::watch
