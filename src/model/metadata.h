#pragma once

#include <compare>
#include <cstdint>

#include "model/file_id.h"

namespace fanmirror::model {

enum class NodeType : std::uint8_t {
  kRegular = 1,
  kDirectory = 2,
  kSymlink = 3,
  kFifo = 4,
  kSocket = 5,
  kCharDevice = 6,
  kBlockDevice = 7,
};

// As the kernel has it: seconds since 1970 (negative before), and 0..999,999,999 nanoseconds. Not one 64-bit
// count of nanoseconds, because filesystems hold years that such a count cannot.
struct Timestamp {
  std::int64_t seconds = 0;
  std::uint32_t nanoseconds = 0;
  friend auto operator<=>(const Timestamp&, const Timestamp&) = default;
};

// What statx tells of a node.
struct Metadata {
  NodeType type = NodeType::kRegular;
  std::uint32_t mode = 0;  // permission bits only: 07777
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint64_t size = 0;  // bytes; of regular files and symlinks, 0 otherwise
  Timestamp mtime;
  Timestamp ctime;
  std::uint32_t device_major = 0;  // of device nodes
  std::uint32_t device_minor = 0;
  std::uint32_t links = 1;
  friend bool operator==(const Metadata&, const Metadata&) = default;
};

// A node of the source as it was seen.
struct Node {
  FileId id;
  Metadata metadata;
  friend bool operator==(const Node&, const Node&) = default;
};

// XXH3-128 (seed 0) of a regular file's data as it was read, whatever pieces it was read or sent in:
//   stream  = run* size:u64le                       size: of the file at the beginning of the reading
//   run     = byte+ offset:u64le length:u64le       offset and length: of the bytes before
// A run is as long as pieces follow each other without a gap. Holes are the gaps and cost nothing; zeros that are
// allocated are data. The numbers follow the bytes, so that one pass over unknown lengths is enough, and read from
// its end a stream has one meaning only. An empty file is the size alone. low and high: of XXH128_hash_t.
struct ContentHash {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  friend bool operator==(const ContentHash&, const ContentHash&) = default;
};

}  // namespace fanmirror::model
