#include "apply/syncer.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <utility>

namespace fanmirror::apply {

ThreadSyncer::ThreadSyncer(Calls calls)
    : calls_(std::move(calls)), failed_fd_(eventfd(0, EFD_CLOEXEC)), thread_([this] { Run(); }) {}

ThreadSyncer::~ThreadSyncer() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void ThreadSyncer::Ended(wire::Ack ack) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return waiting_.size() + syncing_ < kMaxWaiting || !failure_.ok(); });
  if (failure_.ok()) waiting_.push_back(std::move(ack));
  changed_.notify_all();
}

absl::Status ThreadSyncer::Drain() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return (waiting_.empty() && syncing_ == 0) || !failure_.ok(); });
  return failure_;
}

void ThreadSyncer::Run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return !waiting_.empty() || stopping_; });
    if (stopping_) return;
    const std::vector<wire::Ack> acks = std::exchange(waiting_, {});
    syncing_ = acks.size();
    lock.unlock();
    absl::Status status = SyncAndAcknowledge(acks);
    lock.lock();
    syncing_ = 0;
    failure_ = std::move(status);
    changed_.notify_all();
    if (failure_.ok()) continue;
    // Tells the thread that reads the input; the eventfd cannot be full.
    static_cast<void>(eventfd_write(failed_fd_.get(), 1));
    return;
  }
}

absl::Status ThreadSyncer::SyncAndAcknowledge(const std::vector<wire::Ack>& acks) {
  if (absl::Status status = calls_.sync(); !status.ok()) return status;
  for (const wire::Ack& ack : acks) {
    if (absl::Status status = calls_.acknowledge(ack); !status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace fanmirror::apply
