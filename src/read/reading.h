#pragma once

#include <deque>
#include <memory>
#include <optional>

#include "os/tree.h"
#include "os/unique_fd.h"
#include "hash/content_hasher.h"
#include "read/extents.h"
#include "read/pieces.h"
#include "read/reader.h"

namespace fanmirror::read {

// Pieces of one file that are under way at most while it is the next to be given: 2 MiB keep a disk
// streaming.
inline constexpr std::size_t kPiecesAhead = 8;

// One request under way.
class Reading {
 public:
  // All outlive the reading.
  Reading(Request request, const os::Tree* tree, const Belongs* belongs, Pieces* pieces)
      : request_(std::move(request)), tree_(tree), belongs_(belongs), pieces_(pieces) {}
  ~Reading();

  // Opens and looks at the node, and starts to read its first piece. Once. Blocks for the metadata.
  void Start();
  // After Start: the next part; nullopt when it waits for a piece that is being read. Not when finished.
  std::optional<Part> Next();
  bool finished() const { return stage_ == Stage::kFinished; }

 private:
  enum class Stage { kOutcome, kCompare, kBegin, kData, kEnd, kFinished };

  // Each: the part that ends the reading, or nullopt.
  std::optional<Part> Open();
  std::optional<Part> Look();
  std::optional<Part> CheckPlace() const;
  bool Belong(const std::string& path) const;
  void Rewind();
  bool StartPiece();
  // False: the next piece is still being read. None: there is no more data, or `failure_` says why.
  bool TakePiece(std::unique_ptr<Piece>* out);
  void DropPieces();
  bool Compare();
  std::optional<Part> NextData();
  Part GiveEnd();
  absl::Status Failure(const char* call, int error) const;

  Request request_;
  const os::Tree* tree_;
  const Belongs* belongs_;
  Pieces* pieces_;
  Stage stage_ = Stage::kOutcome;
  Part outcome_;  // kOutcome: the only part
  os::UniqueFd fd_;
  bool path_only_ = true;
  bool has_data_ = false;  // a regular file of which the content is wanted
  Begin begin_;
  model::Metadata before_;
  bool racy_ = false;
  std::optional<Extents> extents_;
  bool all_started_ = false;  // no piece is left to be started
  bool ended_early_ = false;  // the file turned out shorter than before_ says
  absl::Status failure_;      // of the data
  std::deque<std::unique_ptr<Piece>> under_way_;
  std::unique_ptr<Piece> given_;  // its bytes are with the caller
  std::unique_ptr<Piece> kept_;   // of a comparison: the only piece so far, already hashed
  std::size_t compared_ = 0;      // pieces of the comparison
  hash::ContentHasher hasher_;
  std::optional<model::ContentHash> hash_;
};

}  // namespace fanmirror::read
