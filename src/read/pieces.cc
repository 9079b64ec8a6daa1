#include "read/pieces.h"

#include <sys/uio.h>

#include <cerrno>
#include <utility>

namespace fanmirror::read {
namespace {

// Pieces kept while nothing is read: what one file after the other needs.
constexpr std::size_t kKeptPieces = 2;

}  // namespace

std::unique_ptr<Piece> Pieces::Start(int fd, std::uint64_t offset, std::uint64_t length) {
  std::unique_ptr<Piece> piece;
  if (free_.empty()) {
    piece = std::make_unique<Piece>();
    piece->memory_ = std::make_unique_for_overwrite<char[]>(kPieceBytes);
  } else {
    piece = std::move(free_.back());
    free_.pop_back();
  }
  piece->fd_ = fd;
  piece->offset_ = offset;
  piece->wanted_ = static_cast<std::uint32_t>(length);
  piece->filled_ = 0;
  piece->error_ = 0;
  piece->complete_ = TryAtOnce(piece.get());
  if (!piece->complete_) SubmitRest(piece.get());
  return piece;
}

// A hit in the page cache costs no round trip through the ring. A miss starts the kernel's readahead. True
// when the piece is complete.
bool Pieces::TryAtOnce(Piece* piece) {
  const iovec place{piece->memory_.get(), piece->wanted_};
  // tmpfs refuses RWF_NOWAIT, and there is nothing to wait for.
  const int flags = storage_ == Storage::kMemory ? 0 : RWF_NOWAIT;
  const ssize_t got = ::preadv2(piece->fd_, &place, 1, static_cast<off_t>(piece->offset_), flags);
  if (got > 0) piece->filled_ = static_cast<std::uint32_t>(got);
  return got == 0 || piece->filled_ == piece->wanted_;  // the ring repeats what failed
}

void Pieces::SubmitRest(Piece* piece) {
  ring_->Submit({.fd = piece->fd_,
                 .offset = piece->offset_ + piece->filled_,
                 .buffer = {piece->memory_.get() + piece->filled_, piece->wanted_ - piece->filled_},
                 .token = reinterpret_cast<std::uintptr_t>(piece)});
}

void Pieces::WaitForOne() {
  const os::Ring::Completion completion = ring_->Wait();
  // NOLINTNEXTLINE(performance-no-int-to-ptr): the ring gives back the address that it was given
  auto* piece = reinterpret_cast<Piece*>(static_cast<std::uintptr_t>(completion.token));
  const std::int64_t result = completion.result;
  // ECANCELED: the thread that submitted the read has ended.
  const bool again = result == -EINTR || result == -EAGAIN || result == -ECANCELED;
  if (result > 0) piece->filled_ += static_cast<std::uint32_t>(result);
  if (again || (result > 0 && piece->filled_ < piece->wanted_)) {
    SubmitRest(piece);
    return;
  }
  piece->error_ = result < 0 ? static_cast<int>(-result) : 0;
  piece->complete_ = true;
}

void Pieces::Recycle(std::unique_ptr<Piece> piece) {
  if (piece != nullptr) free_.push_back(std::move(piece));
}

void Pieces::Trim() {
  if (free_.size() > kKeptPieces) free_.resize(kKeptPieces);
}

}  // namespace fanmirror::read
