#pragma once

#include <cstdint>
#include <map>
#include <string_view>

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
    bool damaged_anywhere = false;  // by one of the errors
  };

  // Returns the number that Remove takes: never 0, never given twice.
  std::uint64_t Add(const Subscription& subscription);
  void Remove(std::uint64_t id) { selections_.erase(id); }
  // Events of process `own_pid` are dropped: what we write ourselves is nobody's change.
  Tally Dispatch(std::string_view buffer, int own_pid);
  // Tells all that anything may differ.
  void Lose();

 private:
  void Offer(const Event& event, Tally* tally);

  std::uint64_t last_id_ = 0;
  std::map<std::uint64_t, Selection> selections_;
};

}  // namespace fanmirror::watch
