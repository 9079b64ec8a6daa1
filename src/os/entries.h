#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace fanmirror::os {

// The entries of an open directory, without "." and "..", in the kernel's order and through one buffer that
// is used again for every directory. One thread.
class Entries {
 public:
  struct Entry {
    const char* name = nullptr;  // valid until the next call
    std::uint64_t inode = 0;     // as the directory has it: not that of the node for a btrfs subvolume
    unsigned char type = 0;      // DT_*; DT_UNKNOWN where the filesystem does not tell
    std::uint64_t next = 0;      // where the listing goes on after this entry, for Start; never 0
  };

  Entries();
  ~Entries();
  Entries(const Entries&) = delete;
  Entries& operator=(const Entries&) = delete;

  // Begins with directory `fd` (O_RDONLY), which stays open until the last Next; at `from`, which an entry of the same
  // directory told, however long ago and by whatever descriptor: 0 is the beginning. Entries that came or went meanwhile
  // may be missed or told twice.
  void Start(int fd, std::uint64_t from = 0);
  enum class Result { kEntry, kEnd, kError };
  // kError: `error` is the errno; the directory may not be listed further. A directory that was removed ends
  // (ENOENT is no error).
  Result Next(Entry* entry, int* error);

 private:
  std::unique_ptr<char[]> buffer_;
  int fd_ = -1;
  std::size_t used_ = 0;  // bytes of `buffer_` that hold entries
  std::size_t at_ = 0;    // offset of the next one
  int seek_error_ = 0;    // an errno: the listing cannot go on where it shall
};

}  // namespace fanmirror::os
