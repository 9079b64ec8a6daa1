#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "os/ring.h"

namespace fanmirror::os {

// The ring for hosts without io_uring: threads that call pread(2).
class ThreadRing final : public Ring {
 public:
  explicit ThreadRing(std::uint32_t capacity);
  ~ThreadRing() override;

  const char* kind() const override { return "threads"; }
  std::uint32_t capacity() const override { return capacity_; }
  std::uint32_t in_flight() const override { return in_flight_; }
  void Submit(const Read& read) override;
  Completion Wait() override;

 private:
  void Work();

  const std::uint32_t capacity_;
  std::uint32_t in_flight_ = 0;  // of the caller's thread only
  std::mutex mutex_;             // of all below but the threads
  std::condition_variable to_do_;
  std::condition_variable done_;
  bool stopping_ = false;
  std::deque<Read> submitted_;
  std::deque<Completion> completed_;
  std::vector<std::thread> threads_;
};

}  // namespace fanmirror::os
