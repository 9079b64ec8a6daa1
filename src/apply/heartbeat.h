#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include "absl/time/time.h"
#include "apply/output.h"

namespace fanmirror::apply {

// Says that this process lives, by a Ping each `interval`, from a thread of its own: the source shall not take a receiver
// for lost whose disk stalls.
class Heartbeat {
 public:
  // `output` outlives it. A failure to write is left to whoever reads the connection.
  Heartbeat(Output* output, absl::Duration interval);
  ~Heartbeat();

 private:
  void Run();

  Output* const output_;
  const absl::Duration interval_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;  // guarded by mutex_
  std::thread thread_;     // last: it uses all the others
};

}  // namespace fanmirror::apply
