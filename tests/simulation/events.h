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
  // The process died before it was done with what was delivered last: the next one is given it again.
  void DeliverAgain() { again_ = true; }
  // Loses all that is unread.
  void Drop();

 private:
  os::UniqueFd group_;
  std::string delivered_;
  bool again_ = false;
};

}  // namespace fanmirror::simulation
