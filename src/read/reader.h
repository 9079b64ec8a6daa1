#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/metadata.h"
#include "model/name.h"
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
  // Of what is no directory: where it may lie, for when its id alone does not tell.
  std::vector<model::Name> names = {};
  // Where it is expected below the root: to be there needs no asking whether that belongs to the job.
  std::string path = {};
};

// Whether what lies at a path below the root belongs to the job.
using Belongs = std::function<bool(const std::string& path, bool is_directory)>;

// The parts of each request: Begin, then Data ..., then End; or only Gone; or Moved or Failed (also in the midst
// of data).
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
// It did not lie in the source, or not where it belongs to the job, or that cannot be told. What was given of it may be
// what it held elsewhere. (End: it was in its place at a moment at which it held what was given; and if it was written
// meanwhile, so that there is no such moment, it was there before and after the reading.)
struct Moved {};
struct Failed {
  absl::Status status;  // names the node by its path if the kernel knows it, else by its id
};
using Part = std::variant<Begin, Data, End, Gone, Moved, Failed>;

class Reader {
 public:
  // `tree` outlives the reader. `belongs`: empty: all of it does. `kind`: of the reads that have to wait for the disk.
  static absl::StatusOr<std::unique_ptr<Reader>> Create(const os::Tree* tree, Belongs belongs = {},
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
