#include "os/ring_uring.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace fanmirror::os {
namespace {

// The ring can no longer say when the kernel is through with the buffers, so no memory is safe any more.
[[noreturn]] void Abort(const char* call, int result) {
  std::fprintf(stderr, "fanmirror: %s: %s; reads in flight are lost, stopping\n", call,
               std::strerror(-result));
  std::abort();
}

}  // namespace

std::unique_ptr<UringRing> UringRing::TryCreate(std::uint32_t capacity) {
  io_uring ring{};
  io_uring_params params{};
  // A completion need not interrupt us: we take them only in Wait.
  params.flags = IORING_SETUP_COOP_TASKRUN;
  int error = io_uring_queue_init_params(capacity, &ring, &params);
  if (error == -EINVAL) {  // before Linux 5.19
    params = {};
    error = io_uring_queue_init_params(capacity, &ring, &params);
  }
  if (error != 0) return nullptr;
  return std::unique_ptr<UringRing>(new UringRing(capacity, ring));
}

UringRing::~UringRing() {
  while (in_flight_ > 0) Wait();
  io_uring_queue_exit(&ring_);
}

void UringRing::Submit(const Read& read) {
  // There is always an entry: each Submit hands its own to the kernel.
  io_uring_sqe* entry = io_uring_get_sqe(&ring_);
  io_uring_prep_read(entry, read.fd, read.buffer.data(), static_cast<unsigned>(read.buffer.size()),
                     read.offset);
  entry->user_data = read.token;
  ++in_flight_;
  for (;;) {
    const int submitted = io_uring_submit(&ring_);
    if (submitted == 1) return;
    // EAGAIN, ENOMEM: the kernel is short of memory for the request; the entry stays in the ring.
    if (submitted != -EINTR && submitted != -EAGAIN && submitted != -ENOMEM)
      Abort("io_uring_submit", submitted);
  }
}

Ring::Completion UringRing::Wait() {
  io_uring_cqe* entry = nullptr;
  for (;;) {
    const int result = io_uring_wait_cqe(&ring_, &entry);
    if (result == 0) break;
    if (result != -EINTR && result != -EAGAIN) Abort("io_uring_wait_cqe", result);
  }
  const Completion completion{entry->user_data, entry->res};
  io_uring_cqe_seen(&ring_, entry);
  --in_flight_;
  return completion;
}

}  // namespace fanmirror::os
