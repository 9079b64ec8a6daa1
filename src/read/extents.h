#pragma once

#include <cstdint>

namespace fanmirror::read {

// A walk over the data of a regular file, hole after hole left out. It sees each range as the filesystem has
// it at that moment: of a file that changes meanwhile it may miss what came behind it.
class Extents {
 public:
  // Nothing beyond `size`.
  explicit Extents(std::uint64_t size) : size_(size) {}

  // The next range of data that does not cross a multiple of `boundary`; `length` 0 when there is no more.
  // Moves the descriptor's position. Returns 0 or an errno.
  int Next(int fd, std::uint64_t boundary, std::uint64_t* offset, std::uint64_t* length);

 private:
  int Step(int fd);

  std::uint64_t size_;
  std::uint64_t position_ = 0;
  std::uint64_t end_ = 0;  // of the data that position_ lies in; equal to position_: none found yet
  bool at_hole_ = false;   // a hole is expected at position_; at the beginning of a file it is data
};

}  // namespace fanmirror::read
