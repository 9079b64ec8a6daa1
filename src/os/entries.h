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
  };

  Entries();
  ~Entries();
  Entries(const Entries&) = delete;
  Entries& operator=(const Entries&) = delete;

  // Begins with directory `fd` (O_RDONLY), which stays open until the last Next.
  void Start(int fd);
  enum class Result { kEntry, kEnd, kError };
  // kError: `error` is the errno; the directory may not be listed further. A directory that was removed ends
  // (ENOENT is no error).
  Result Next(Entry* entry, int* error);

 private:
  std::unique_ptr<char[]> buffer_;
  int fd_ = -1;
  std::size_t used_ = 0;  // bytes of `buffer_` that hold entries
  std::size_t at_ = 0;    // offset of the next one
};

}  // namespace fanmirror::os
