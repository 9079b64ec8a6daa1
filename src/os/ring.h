#pragma once

#include <cstdint>
#include <memory>

#include "absl/types/span.h"

namespace fanmirror::os {

// Reads in flight: many are started, each completes in its own time. Not thread-safe; errors of a read come
// with its completion. The destructor waits for all that is in flight, because the kernel writes into the
// buffers until then.
class Ring {
 public:
  struct Read {
    int fd = -1;               // open until the completion; the ring does not own it
    std::uint64_t offset = 0;  // bytes
    absl::Span<char> buffer;   // untouched by others until the completion; not empty
    std::uint64_t token = 0;   // comes back with the completion
  };
  struct Completion {
    std::uint64_t token = 0;
    std::int64_t result =
        0;  // bytes read, 0 at the end of the file, or a negative errno; may be short, as of pread(2)
  };
  enum class Kind {
    kBest,     // io_uring; a pool of threads where the host does not allow it
    kThreads,  // always the pool
  };

  // `capacity`: reads in flight at most, 1 to 4096.
  static std::unique_ptr<Ring> Create(std::uint32_t capacity, Kind kind = Kind::kBest);
  virtual ~Ring() = default;

  virtual const char* kind() const = 0;  // "io_uring" or "threads"
  virtual std::uint32_t capacity() const = 0;
  virtual std::uint32_t in_flight() const = 0;  // submitted, completion not yet taken

  // Starts a read. Only while in_flight() < capacity(). Hardly blocks.
  virtual void Submit(const Read& read) = 0;
  // The next completion, in any order; blocks for the disk. Only while in_flight() > 0.
  virtual Completion Wait() = 0;
};

}  // namespace fanmirror::os
