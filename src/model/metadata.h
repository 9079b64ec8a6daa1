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

// XXH3-128 of a file's data extents, as read/ computes it: hash of (offset u64 LE, length u64 LE, bytes) of each
// extent of data in order, then of the file's size u64 LE. Holes cost nothing.
struct ContentHash {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  friend bool operator==(const ContentHash&, const ContentHash&) = default;
};

}  // namespace fanmirror::model
