#include "os/ring_threads.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace fanmirror::os {
namespace {

// Enough to keep the queue of a disk busy; more would only wait for each other.
constexpr std::uint32_t kMaxThreads = 8;

std::int64_t ReadNow(const Ring::Read& read) {
  for (;;) {
    const ssize_t got =
        ::pread(read.fd, read.buffer.data(), read.buffer.size(), static_cast<off_t>(read.offset));
    if (got >= 0) return got;
    if (errno != EINTR) return -errno;
  }
}

}  // namespace

ThreadRing::ThreadRing(std::uint32_t capacity) : capacity_(capacity) {
  for (std::uint32_t i = 0; i < std::min(capacity, kMaxThreads); ++i) {
    threads_.emplace_back([this] { Work(); });
  }
}

ThreadRing::~ThreadRing() {
  while (in_flight_ > 0) Wait();
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  to_do_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadRing::Submit(const Read& read) {
  ++in_flight_;
  {
    std::lock_guard lock(mutex_);
    submitted_.push_back(read);
  }
  to_do_.notify_one();
}

Ring::Completion ThreadRing::Wait() {
  std::unique_lock lock(mutex_);
  done_.wait(lock, [this] { return !completed_.empty(); });
  const Completion completion = completed_.front();
  completed_.pop_front();
  --in_flight_;
  return completion;
}

void ThreadRing::Work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    to_do_.wait(lock, [this] { return stopping_ || !submitted_.empty(); });
    if (stopping_) return;
    const Read read = submitted_.front();
    submitted_.pop_front();
    lock.unlock();
    const std::int64_t result = ReadNow(read);
    lock.lock();
    completed_.push_back({read.token, result});
    done_.notify_one();
  }
}

}  // namespace fanmirror::os
