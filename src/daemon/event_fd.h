#pragma once

#include <sys/eventfd.h>

#include "os/unique_fd.h"

namespace fanmirror::daemon {

// A descriptor that becomes readable once and stays so: for threads that wait in poll(2). Thread-safe.
class EventFd {
 public:
  EventFd() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  void Set() { ::eventfd_write(fd_.get(), 1); }
  int get() const { return fd_.get(); }

 private:
  os::UniqueFd fd_;
};

}  // namespace fanmirror::daemon
