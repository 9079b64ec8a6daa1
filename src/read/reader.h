#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/metadata.h"
#include "model/xattr.h"
#include "os/ring.h"
#include "os/tree.h"

namespace fanmirror::read {

// Reads nodes of the source, several at a time, and gives their parts in the order of submission. Opens by
// id, so a node is found wherever it was moved meanwhile, and never another one. One thread.
struct Request {
  model::FileId id;
  // Of a regular file: its data, too. Ignored for all else.
  bool content = false;
  // With content: read and hash it first; when the hash is `known_hash`, give no data. Reads twice when it is
  // not and the file is larger than a piece.
  bool check_content = false;
  model::ContentHash known_hash = {};
};

// The parts of each request: Begin, then Data ..., then End; or only Gone; or Failed (also in the midst of
// data).
struct Begin {
  model::Metadata metadata;  // at the beginning of the reading
  // user.*, trusted.*, security.*, the two system.posix_acl_*; sorted by name
  std::vector<model::Xattr> xattrs;
  std::string symlink_target;
  bool unchanged = false;  // check_content found the known hash: no Data follows
};
// Data comes in ascending order, at most kPieceBytes (pieces.h) at once, holes left out, and nothing beyond
// the size at Begin.
struct Data {
  std::uint64_t offset = 0;
  absl::Span<const char> bytes;  // valid until the next call of Next
};
struct End {
  model::ContentHash hash;   // of what was given, for regular files with content
  model::Metadata metadata;  // at the end of the reading
  // ctime, mtime or size moved meanwhile, or the data ended before the size at Begin: what was read may be a
  // mixture.
  bool raced = false;
  // The ctime is within kRacyWindowNs (os/clock.h) of the beginning of the reading.
  bool racy = false;
};
struct Gone {};
struct Failed {
  absl::Status status;  // names the node by its path if the kernel knows it, else by its id
};
using Part = std::variant<Begin, Data, End, Gone, Failed>;

class Reader {
 public:
  // `tree` outlives the reader. `kind`: of the reads that have to wait for the disk.
  static absl::StatusOr<std::unique_ptr<Reader>> Create(const os::Tree* tree,
                                                        os::Ring::Kind kind = os::Ring::Kind::kBest);
  virtual ~Reader() = default;

  // True while another request may be submitted (bounded: files under way, and bytes of their buffers).
  virtual bool Accepts() const = 0;
  virtual void Submit(Request request) = 0;
  virtual bool Idle() const = 0;  // nothing submitted is left
  // The next part; blocks for the disk. Not when Idle.
  virtual Part Next() = 0;
};

}  // namespace fanmirror::read
