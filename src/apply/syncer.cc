#include "apply/syncer.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <utility>

namespace fanmirror::apply {

Syncer::Syncer(Calls calls)
    : calls_(std::move(calls)), failed_fd_(eventfd(0, EFD_CLOEXEC)), thread_([this] { Run(); }) {}

Syncer::~Syncer() {
  {
    const absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  thread_.join();
}

void Syncer::Ended(wire::Ack ack) {
  const absl::MutexLock lock(&mutex_);
  const auto room = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return waiting_.size() + syncing_ < kMaxWaiting || !failure_.ok();
  };
  mutex_.Await(absl::Condition(&room));
  if (failure_.ok()) waiting_.push_back(std::move(ack));
}

absl::Status Syncer::Drain() {
  const absl::MutexLock lock(&mutex_);
  const auto done = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return (waiting_.empty() && syncing_ == 0) || !failure_.ok();
  };
  mutex_.Await(absl::Condition(&done));
  return failure_;
}

void Syncer::Run() {
  for (;;) {
    std::vector<wire::Ack> acks;
    {
      const absl::MutexLock lock(&mutex_);
      const auto wanted = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        return !waiting_.empty() || stopping_;
      };
      mutex_.Await(absl::Condition(&wanted));
      if (stopping_) return;
      acks.swap(waiting_);
      syncing_ = acks.size();
    }
    absl::Status status = SyncAndAcknowledge(acks);
    const absl::MutexLock lock(&mutex_);
    syncing_ = 0;
    if (status.ok()) continue;
    failure_ = std::move(status);
    // Tells the thread that reads the input; the eventfd cannot be full.
    static_cast<void>(eventfd_write(failed_fd_.get(), 1));
    return;
  }
}

absl::Status Syncer::SyncAndAcknowledge(const std::vector<wire::Ack>& acks) {
  if (absl::Status status = calls_.sync(); !status.ok()) return status;
  for (const wire::Ack& ack : acks) {
    if (absl::Status status = calls_.acknowledge(ack); !status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace fanmirror::apply
