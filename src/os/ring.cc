#include "os/ring.h"

#include "os/ring_threads.h"
#include "os/ring_uring.h"

namespace fanmirror::os {

std::unique_ptr<Ring> Ring::Create(std::uint32_t capacity, Kind kind) {
  if (kind == Kind::kBest) {
    if (std::unique_ptr<Ring> ring = UringRing::TryCreate(capacity)) return ring;
  }
  return std::make_unique<ThreadRing>(capacity);
}

}  // namespace fanmirror::os
