#pragma once

#include <liburing.h>

#include <memory>

#include "os/ring.h"

namespace fanmirror::os {

// The ring of the kernel. A read of what is in the page cache completes in Submit, others when the disk is
// through.
class UringRing final : public Ring {
 public:
  // nullptr where the host does not let us: kernel.io_uring_disabled, seccomp, memory limits.
  static std::unique_ptr<UringRing> TryCreate(std::uint32_t capacity);
  ~UringRing() override;

  const char* kind() const override { return "io_uring"; }
  std::uint32_t capacity() const override { return capacity_; }
  std::uint32_t in_flight() const override { return in_flight_; }
  void Submit(const Read& read) override;
  Completion Wait() override;

 private:
  UringRing(std::uint32_t capacity, const io_uring& ring) : capacity_(capacity), ring_(ring) {}

  const std::uint32_t capacity_;
  std::uint32_t in_flight_ = 0;
  io_uring ring_;
};

}  // namespace fanmirror::os
