#include "read/reading.h"

#include <fcntl.h>
#include <linux/limits.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include "model/failure.h"
#include "os/clock.h"
#include "os/xattrs.h"

namespace fanmirror::read {
namespace {

using model::NodeType;
using model::Reaction;

Reaction ReactionTo(int error) {
  switch (error) {
    case EACCES:  // a security module keeps even root out
    case EPERM:
    case ENOKEY:  // encrypted, and locked
    case E2BIG:   // more names of xattrs than the kernel can list
    case EOPNOTSUPP:
      return Reaction::kSkipAndReport;
    default:
      return Reaction::kRetry;
  }
}

const char* CureOf(int error) {
  switch (error) {
    case EACCES:
    case EPERM:
      return "let fanmirror read it (run as root; look at the rules of a security module)";
    case ENOKEY:
      return "unlock the encrypted directory";
    case E2BIG:
      return "remove extended attributes";
    case EAGAIN:
      return "another program holds a lease on the file; it is asked for again";
    case EMFILE:
    case ENFILE:
      return "raise the limit of open files";
    default:
      return "see the kernel's log for errors of the source's filesystem";
  }
}

}  // namespace

Reading::~Reading() { DropPieces(); }

void Reading::Start() {
  std::optional<Part> end = Open();
  if (!end) end = Look();
  if (end) {
    outcome_ = *std::move(end);
    return;
  }
  stage_ = has_data_ && request_.check_content ? Stage::kCompare : Stage::kBegin;
  if (has_data_) {
    Rewind();
    StartPiece();
  }
}

// Only what proved to be a regular file is opened for real: to open a device or a fifo is to do something to it.
std::optional<Part> Reading::Open() {
  absl::StatusOr<std::optional<os::UniqueFd>> fd = tree_->OpenNode(request_.id, O_PATH);
  if (!fd.ok()) return Failed{fd.status()};
  if (!fd->has_value()) return Gone{};
  fd_ = *std::move(*fd);
  if (!request_.content) return std::nullopt;
  if (const int error = os::StatAt(fd_.get(), "", &before_)) return Failed{Failure("statx", error)};
  if (before_.type != NodeType::kRegular) return std::nullopt;
  // O_NONBLOCK: not to wait for the holder of a lease.
  fd = tree_->OpenNode(request_.id, O_RDONLY | O_NOATIME | O_NONBLOCK);
  if (!fd.ok()) return Failed{Failure("open", model::ErrnoOf(fd.status()))};
  if (!fd->has_value()) return Gone{};
  fd_ = *std::move(*fd);
  path_only_ = false;
  has_data_ = true;
  return std::nullopt;
}

std::optional<Part> Reading::Look() {
  const std::int64_t earliest_ns = os::RealtimeNs();
  if (const int error = os::StatAt(fd_.get(), "", &before_)) return Failed{Failure("statx", error)};
  racy_ = os::IsRacy(before_.ctime, earliest_ns, os::RealtimeNs());
  begin_.metadata = before_;
  if (const int error = os::ReadXattrs(fd_.get(), path_only_, &begin_.xattrs)) return Failed{Failure("getxattr", error)};
  if (before_.type == NodeType::kSymlink) {
    char target[PATH_MAX];
    const ssize_t length = ::readlinkat(fd_.get(), "", target, sizeof target);
    if (length < 0) return Failed{Failure("readlink", errno)};
    begin_.symlink_target.assign(target, static_cast<std::size_t>(length));
  }
  // After the look and before the reading: when nothing changes until its end, all that is read was there at this moment.
  return CheckPlace();
}

std::optional<Part> Reading::CheckPlace() const {
  auto path = tree_->PathOfOpen(request_.id, fd_.get());
  // Of a node with several names the kernel may have come upon one that does not belong to the job.
  for (auto name = request_.names.begin();; ++name) {
    if (!path.ok()) return Failed{path.status()};
    if (path->has_value() && Belong(**path)) return std::nullopt;
    if (name == request_.names.end()) return Moved{};
    path = tree_->PathByName(request_.id, *name);
  }
}

bool Reading::Belong(const std::string& path) const {
  return path == request_.path || !*belongs_ || (*belongs_)(path, before_.type == NodeType::kDirectory);
}

void Reading::Rewind() {
  extents_.emplace(before_.size);
  hasher_.Reset();
  hash_.reset();
  all_started_ = false;
  ended_early_ = false;
}

std::optional<Part> Reading::Next() {
  pieces_->Recycle(std::move(given_));
  if (stage_ == Stage::kCompare && !Compare()) return std::nullopt;
  switch (stage_) {
    case Stage::kBegin:
      stage_ = begin_.unchanged || !has_data_ ? Stage::kEnd : Stage::kData;
      return std::move(begin_);
    case Stage::kData:
      return NextData();
    case Stage::kEnd:
      return GiveEnd();
    default:
      stage_ = Stage::kFinished;
      return std::move(outcome_);
  }
}

// The first of two readings: hashes, and gives nothing. False: waits for a piece. A file with another hash is
// read again, but for a single piece, which is kept.
bool Reading::Compare() {
  for (;;) {
    std::unique_ptr<Piece> piece;
    if (!TakePiece(&piece)) return false;
    if (piece == nullptr) break;
    hasher_.Add(piece->offset(), piece->bytes());
    pieces_->Recycle(std::move(kept_));
    if (compared_++ == 0) kept_ = std::move(piece);
    pieces_->Recycle(std::move(piece));
  }
  stage_ = Stage::kBegin;
  std::optional<Part> end;
  if (failure_.ok()) {
    hash_ = hasher_.Finish(before_.size);
  } else {
    end = Failed{failure_};
  }
  if (hash_ == request_.known_hash) {
    begin_.unchanged = true;
    pieces_->Recycle(std::move(kept_));
  } else if (kept_ == nullptr && !end) {
    end = Look();
    Rewind();
  }
  if (end) {
    stage_ = Stage::kOutcome;
    outcome_ = *std::move(end);
  }
  return true;
}

std::optional<Part> Reading::NextData() {
  if (kept_ != nullptr) {
    given_ = std::move(kept_);
    return Data{given_->offset(), given_->bytes()};
  }
  if (!TakePiece(&given_)) return std::nullopt;
  if (!failure_.ok()) {
    stage_ = Stage::kFinished;
    return Failed{failure_};
  }
  if (given_ == nullptr) return GiveEnd();
  hasher_.Add(given_->offset(), given_->bytes());
  return Data{given_->offset(), given_->bytes()};
}

Part Reading::GiveEnd() {
  stage_ = Stage::kFinished;
  End end;
  if (const int error = os::StatAt(fd_.get(), "", &end.metadata)) return Failed{Failure("statx", error)};
  end.raced = ended_early_ || end.metadata.ctime != before_.ctime || end.metadata.mtime != before_.mtime ||
              end.metadata.size != before_.size;
  end.racy = racy_;
  if (end.raced || end.racy) {
    if (std::optional<Part> moved = CheckPlace()) return *std::move(moved);
  }
  if (has_data_) end.hash = hash_ ? *hash_ : hasher_.Finish(before_.size);
  return end;
}

// While one is being read from the disk, the next ones are asked for, too; what comes from the page cache is
// read just in time, while the processor's cache still holds the piece before.
bool Reading::TakePiece(std::unique_ptr<Piece>* out) {
  const auto waits = [](const std::unique_ptr<Piece>& piece) { return !piece->complete(); };
  if (under_way_.empty()) StartPiece();
  while (under_way_.size() < kPiecesAhead && std::ranges::any_of(under_way_, waits) && StartPiece()) {
  }
  if (under_way_.empty()) return true;
  if (!under_way_.front()->complete()) return false;
  std::unique_ptr<Piece> piece = std::move(under_way_.front());
  under_way_.pop_front();
  if (piece->error() != 0) failure_ = Failure("read", piece->error());
  if (piece->at_end()) {
    ended_early_ = true;
    all_started_ = true;
    DropPieces();
  }
  if (!piece->bytes().empty() && failure_.ok()) {
    *out = std::move(piece);
  } else {
    pieces_->Recycle(std::move(piece));
  }
  return true;
}

// False: there is no more data.
bool Reading::StartPiece() {
  if (all_started_) return false;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  if (const int error = extents_->Next(fd_.get(), kPieceBytes, &offset, &length))
    failure_ = Failure("lseek", error);
  all_started_ = length == 0;
  if (!all_started_) under_way_.push_back(pieces_->Start(fd_.get(), offset, length));
  return !all_started_;
}

void Reading::DropPieces() {
  for (std::unique_ptr<Piece>& piece : under_way_) {
    while (!piece->complete()) pieces_->WaitForOne();
    pieces_->Recycle(std::move(piece));
  }
  under_way_.clear();
}

absl::Status Reading::Failure(const char* call, int error) const {
  const absl::StatusOr<os::Tree::Place> place = tree_->Locate(request_.id);
  const bool named = place.ok() && place->kind == os::Tree::Place::Kind::kInside;
  return model::SystemFailure(ReactionTo(error), call, named ? place->path : request_.id.ToString(), error,
                              CureOf(error));
}

}  // namespace fanmirror::read
