#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "os/unique_fd.h"
#include "simulation/random.h"
#include "watch/dispatch.h"

namespace fanmirror::simulation {

// The kernel's queue of file events of one filesystem: a real fanotify group, read when the simulation says so. What stays
// unread the kernel merges.
class EventQueue {
 public:
  explicit EventQueue(const std::string& filesystem);

  // Reads up to `bytes` of events and dispatches them. False: there were none.
  bool Deliver(std::size_t bytes, watch::EventDispatch* dispatch);
  // Loses all that is unread.
  void Drop();

 private:
  os::UniqueFd group_;
};

}  // namespace fanmirror::simulation
