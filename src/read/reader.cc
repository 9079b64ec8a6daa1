#include "read/reader.h"

#include <linux/magic.h>
#include <sys/vfs.h>

#include <cerrno>
#include <deque>
#include <utility>

#include "model/failure.h"
#include "read/pieces.h"
#include "read/reading.h"

namespace fanmirror::read {
namespace {

// Requests under way at most: descriptors that are open, and a piece of memory for each. A disk has its best
// rate of small reads by then.
constexpr std::size_t kMaxRequests = 64;

// Every request has its first piece, the one whose turn it is those ahead: 18 MiB in all.
constexpr std::uint32_t kMaxPieces = kMaxRequests + kPiecesAhead;

class RingReader final : public Reader {
 public:
  RingReader(const os::Tree* tree, Belongs belongs, Pieces::Storage storage, os::Ring::Kind kind)
      : tree_(tree), belongs_(std::move(belongs)), pieces_(storage, kMaxPieces, kind) {}

  bool Accepts() const override { return readings_.size() < kMaxRequests; }
  bool Idle() const override { return readings_.empty(); }

  void Submit(Request request) override {
    readings_.push_back(std::make_unique<Reading>(std::move(request), tree_, &belongs_, &pieces_));
  }

  Part Next() override {
    for (;;) {
      if (started_ == 0) StartNext();
      // Those behind are opened when there is time to fill: while the disk is busy.
      if (pieces_.reading() > 0) StartAll();
      if (std::optional<Part> part = readings_.front()->Next()) {
        if (readings_.front()->finished()) Finish();
        return *std::move(part);
      }
      StartAll();
      pieces_.WaitForOne();
    }
  }

 private:
  void StartNext() { readings_[started_++]->Start(); }
  void StartAll() {
    while (started_ < readings_.size()) StartNext();
  }
  void Finish() {
    readings_.pop_front();
    --started_;
    if (readings_.empty()) pieces_.Trim();
  }

  const os::Tree* tree_;
  const Belongs belongs_;
  Pieces pieces_;
  std::deque<std::unique_ptr<Reading>> readings_;  // in the order of submission; destroyed before pieces_
  std::size_t started_ = 0;                        // of them, from the front
};

}  // namespace

absl::StatusOr<std::unique_ptr<Reader>> Reader::Create(const os::Tree* tree, Belongs belongs,
                                                       os::Ring::Kind kind) {
  struct statfs filesystem;
  if (::fstatfs(tree->root_fd(), &filesystem) != 0) {
    return model::SystemFailure(model::Reaction::kRetry, "fstatfs", "the source's root", errno);
  }
  const bool memory = filesystem.f_type == TMPFS_MAGIC || filesystem.f_type == RAMFS_MAGIC;
  const auto storage = memory ? Pieces::Storage::kMemory : Pieces::Storage::kDisk;
  return std::make_unique<RingReader>(tree, std::move(belongs), storage, kind);
}

}  // namespace fanmirror::read
