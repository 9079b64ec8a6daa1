#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/change.h"
#include "model/metadata.h"
#include "model/name.h"

namespace fanmirror::model {

// One step on the target. Paths are relative to the target's root, without leading or trailing '/', "" for the
// root itself; they hold at the moment when the op is applied in order.
struct Op {
  enum class Kind : std::uint8_t {
    kMake = 1,      // `path` becomes a new node like `node`, without content: directory, symlink, fifo, socket, device
    kPut = 2,       // `path` becomes a new regular file with the content of `node`, over a non-directory if one is there
    kLink = 3,      // `path` becomes another name of what `from` names, over a non-directory if one is there
    kRename = 4,    // `from` becomes `path`, over a non-directory if one is there
    kExchange = 5,  // `from` and `path` change places in one step
    kRemove = 6,    // `path` goes; a directory only when it is empty
    kSetMetadata = 7  // owner, mode, xattrs, mtime of `path` become those of `node`
  };
  Kind kind = Kind::kPut;
  FileId node;        // of the source: what to read for kMake, kPut, kSetMetadata; whom it concerns otherwise
  NodeType type = NodeType::kRegular;  // of `node`
  std::string path;
  std::string from;
  // Of what is read and is no directory: its names in the source when it was looked at.
  std::vector<Name> names;
  // kPut: when the content as read has the hash `known_hash`, only the metadata is sent.
  bool check_content = false;
  ContentHash known_hash;
  // What to look at again when this op fails: the names and nodes that it closes the difference for.
  std::vector<Change> concerns;
};

}  // namespace fanmirror::model
