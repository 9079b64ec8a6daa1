#pragma once

#include <atomic>
#include <thread>

#include "daemon/event_fd.h"
#include "os/unique_fd.h"

namespace fanmirror::daemon {

// Takes SIGTERM, SIGINT and SIGHUP for the whole process: the first asks for an orderly stop, the second ends
// the process at once. Ignores SIGPIPE. Made in main before any other thread, so that all of them have the
// signals blocked.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();  // the signals stay blocked

  bool received() const { return number_ != 0; }
  int number() const { return number_; }
  // Readable once a signal has come.
  int fd() const { return received_.get(); }

 private:
  void Read();

  os::UniqueFd signals_;
  EventFd received_;
  EventFd end_;
  std::atomic<int> number_{0};
  std::thread thread_;
};

}  // namespace fanmirror::daemon
