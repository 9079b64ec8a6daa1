#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "os/ring.h"

namespace fanmirror::read {

// Bytes of data read at once: large enough that system calls and frames do not count beside the copying,
// small enough that a piece is still in the processor's cache when it is hashed and sent, and that one for
// each of many files is little memory. From 64 KiB to 256 KiB the cost of a warm gigabyte hardly differs
// (0.15 s of processor time).
inline constexpr std::uint64_t kPieceBytes = std::uint64_t{256} << 10;

// A range of a file and the memory that it is read into.
class Piece {
 public:
  std::uint64_t offset() const { return offset_; }
  bool complete() const { return complete_; }
  // Of a complete piece: 0 or an errno, then what was read is worth nothing.
  int error() const { return error_; }
  // Of a complete piece: the file ended within it, or before.
  bool at_end() const { return filled_ < wanted_; }
  absl::Span<const char> bytes() const { return {memory_.get(), filled_}; }

 private:
  friend class Pieces;
  int fd_ = -1;
  std::uint64_t offset_ = 0;
  std::uint32_t wanted_ = 0;
  std::uint32_t filled_ = 0;
  bool complete_ = false;
  int error_ = 0;
  std::unique_ptr<char[]> memory_;  // kPieceBytes
};

// Reads pieces of files: from the page cache at once, from the disk through a ring. One thread.
class Pieces {
 public:
  // Whether the filesystem keeps its data in memory, so that no read has to wait.
  enum class Storage { kDisk, kMemory };

  // `capacity`: pieces that are being read at most.
  Pieces(Storage storage, std::uint32_t capacity, os::Ring::Kind kind)
      : storage_(storage), ring_(os::Ring::Create(capacity, kind)) {}

  // Starts reading `length` bytes, 1 to kPieceBytes. `fd` stays open until the piece is complete.
  std::unique_ptr<Piece> Start(int fd, std::uint64_t offset, std::uint64_t length);
  // Blocks until something moved: a piece may be complete now. Only while reading() > 0.
  void WaitForOne();
  std::uint32_t reading() const { return ring_->in_flight(); }

  // Takes back the memory of a complete piece. nullptr is fine.
  void Recycle(std::unique_ptr<Piece> piece);
  // Gives back to the system what is kept for more than a trickle.
  void Trim();

 private:
  bool TryAtOnce(Piece* piece);
  void SubmitRest(Piece* piece);

  const Storage storage_;
  std::vector<std::unique_ptr<Piece>> free_;  // the last one is the warmest
  std::unique_ptr<os::Ring> ring_;
};

}  // namespace fanmirror::read
