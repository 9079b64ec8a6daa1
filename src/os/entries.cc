#include "os/entries.h"

#include <dirent.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace fanmirror::os {
namespace {

// Bytes for one getdents64 call: about a thousand entries, so that the call itself does not count.
constexpr std::size_t kBufferBytes = std::size_t{64} << 10;

bool IsDotOrDotDot(const char* name) {
  return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

}  // namespace

Entries::Entries() : buffer_(new char[kBufferBytes]) {}
Entries::~Entries() = default;

void Entries::Start(int fd, std::uint64_t from) {
  fd_ = fd;
  used_ = 0;
  at_ = 0;
  const bool sought = from == 0 || ::lseek(fd, static_cast<off_t>(from), SEEK_SET) >= 0;
  seek_error_ = sought ? 0 : errno;
}

Entries::Result Entries::Next(Entry* entry, int* error) {
  for (;;) {
    if (at_ == used_) {
      if (seek_error_ != 0) {
        *error = seek_error_;
        return Result::kError;
      }
      const long got = ::syscall(SYS_getdents64, fd_, buffer_.get(), kBufferBytes);
      if (got == 0 || (got < 0 && errno == ENOENT)) return Result::kEnd;
      if (got < 0) {
        *error = errno;
        return Result::kError;
      }
      used_ = static_cast<std::size_t>(got);
      at_ = 0;
    }
    const auto* found = reinterpret_cast<const dirent64*>(buffer_.get() + at_);
    at_ += found->d_reclen;
    if (IsDotOrDotDot(found->d_name)) continue;
    entry->name = found->d_name;
    entry->inode = found->d_ino;
    entry->type = found->d_type;
    entry->next = static_cast<std::uint64_t>(found->d_off);
    return Result::kEntry;
  }
}

}  // namespace fanmirror::os
