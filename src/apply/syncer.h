#pragma once

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "os/unique_fd.h"
#include "wire/messages.h"

namespace fanmirror::apply {

// Makes batches durable while further ones are applied: one sync covers all that ended before it began. Acknowledges
// them in their order, and never one whose sync failed.
class Syncer {
 public:
  // `sync` makes durable all that was written before the call; `acknowledge` tells the source, and is called once for
  // each batch.
  struct Calls {
    std::function<absl::Status()> sync;
    std::function<absl::Status(const wire::Ack&)> acknowledge;
  };
  virtual ~Syncer() = default;

  // May block while many batches wait. Without effect after a failure.
  virtual void Ended(wire::Ack ack) = 0;
  // Waits until all that ended is acknowledged, or something failed.
  virtual absl::Status Drain() = 0;
  // Readable once something failed; Drain then tells what.
  virtual int failed_fd() const = 0;
};

// Syncs on a thread of its own, on which its Calls are called.
class ThreadSyncer : public Syncer {
 public:
  // Batches that are applied and not durable: bounds what a slow disk can make us hold, and lets a sync cover
  // many. Ended blocks while so many wait.
  static constexpr std::size_t kMaxWaiting = 64;

  explicit ThreadSyncer(Calls calls);
  ~ThreadSyncer() override;

  void Ended(wire::Ack ack) override;
  absl::Status Drain() override;
  int failed_fd() const override { return failed_fd_.get(); }

 private:
  void Run();
  absl::Status SyncAndAcknowledge(const std::vector<wire::Ack>& acks);

  Calls calls_;
  os::UniqueFd failed_fd_;
  // A std::mutex: the thread sanitizer does not see into the abseil of the distribution.
  std::mutex mutex_;  // guards the following
  std::condition_variable changed_;
  std::vector<wire::Ack> waiting_;
  std::size_t syncing_ = 0;  // batches that the sync under way covers
  absl::Status failure_;
  bool stopping_ = false;
  std::thread thread_;  // last: it uses all the others
};

}  // namespace fanmirror::apply
