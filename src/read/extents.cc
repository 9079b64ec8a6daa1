#include "read/extents.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace fanmirror::read {

int Extents::Next(int fd, std::uint64_t boundary, std::uint64_t* offset, std::uint64_t* length) {
  *length = 0;
  while (position_ == end_ && position_ < size_) {
    if (const int error = Step(fd)) return error;
  }
  *offset = position_;
  *length = std::min(end_ - position_, boundary - position_ % boundary);
  position_ += *length;
  return 0;
}

// Expecting data first makes it one system call for a file without holes.
int Extents::Step(int fd) {
  const int whence = at_hole_ ? SEEK_DATA : SEEK_HOLE;
  const off_t found = ::lseek(fd, static_cast<off_t>(position_), whence);
  if (found < 0 && errno != ENXIO) return errno;
  // ENXIO: no more data, or the file ends before this place by now.
  end_ = found < 0 ? size_ : std::min(static_cast<std::uint64_t>(found), size_);
  if (at_hole_ || found < 0) position_ = end_;
  at_hole_ = !at_hole_;
  return 0;
}

}  // namespace fanmirror::read
