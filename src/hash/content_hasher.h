#pragma once

#include <endian.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "absl/types/span.h"
#include "model/metadata.h"
#include "model/xattr.h"

// The state by value and the loops inlined: most files are a few kilobytes, for which a call and an
// allocation count.
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace fanmirror::hash {

// Computes a model::ContentHash, the same on both hosts; the grammar is told there.
class ContentHasher {
 public:
  ContentHasher() { Reset(); }

  void Reset() {
    XXH3_128bits_reset(&state_);
    run_offset_ = run_length_ = 0;
  }

  // `offset`: not before the end of the bytes added last.
  void Add(std::uint64_t offset, absl::Span<const char> bytes) {
    if (offset != run_offset_ + run_length_) {
      EndRun();
      run_offset_ = offset;
    }
    XXH3_128bits_update(&state_, bytes.data(), bytes.size());
    run_length_ += bytes.size();
  }

  // `size`: of the file. Reset before any other use.
  model::ContentHash Finish(std::uint64_t size) {
    EndRun();
    const std::uint64_t trailer = htole64(size);
    XXH3_128bits_update(&state_, &trailer, sizeof trailer);
    const XXH128_hash_t hash = XXH3_128bits_digest(&state_);
    return {.low = hash.low64, .high = hash.high64};
  }

 private:
  void EndRun() {
    if (run_length_ == 0) return;
    const std::array<std::uint64_t, 2> trailer = {htole64(run_offset_), htole64(run_length_)};
    XXH3_128bits_update(&state_, trailer.data(), sizeof trailer);
    run_length_ = 0;
  }

  XXH3_state_t state_;
  std::uint64_t run_offset_ = 0;
  std::uint64_t run_length_ = 0;  // 0: no run is open
};

// Computes the model::ContentHash that a file would have if all its zeros were holes, in cells of kCellBytes: what two
// filesystems allocate for the same content differs, this does not.
class SparseHasher {
 public:
  static constexpr std::uint64_t kCellBytes = 512;  // every filesystem's blocks are whole cells

  // `offset`: not before the end of the bytes added last, and a multiple of kCellBytes; so is the size, but at the end of
  // the file.
  void Add(std::uint64_t offset, absl::Span<const char> bytes) {
    std::size_t run = 0;  // begin of the cells that are not zero and not hashed yet
    for (std::size_t at = 0; at < bytes.size(); at += kCellBytes) {
      const absl::Span<const char> cell = bytes.subspan(at, kCellBytes);
      if (!IsZero(cell)) continue;
      if (at > run) hasher_.Add(offset + run, bytes.subspan(run, at - run));
      run = at + cell.size();
    }
    if (bytes.size() > run) hasher_.Add(offset + run, bytes.subspan(run));
  }
  // `size`: of the file. The next file may begin.
  model::ContentHash Finish(std::uint64_t size) {
    const model::ContentHash hash = hasher_.Finish(size);
    hasher_.Reset();
    return hash;
  }

 private:
  static bool IsZero(absl::Span<const char> cell) {
    return cell[0] == 0 && std::memcmp(cell.data(), cell.data() + 1, cell.size() - 1) == 0;
  }
  ContentHasher hasher_;
};

// XXH3-128 of text and of xattrs (sorted by name; without model::kSelinuxXattr), to compare what the other side has without
// sending it.
inline model::ContentHash DigestOf(std::string_view text) {
  const XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
  return {.low = hash.low64, .high = hash.high64};
}
inline model::ContentHash DigestOf(absl::Span<const model::Xattr> xattrs) {
  XXH3_state_t state;
  XXH3_128bits_reset(&state);
  const auto add = [&state](std::string_view bytes) {
    const std::uint64_t size = htole64(bytes.size());
    XXH3_128bits_update(&state, &size, sizeof size);
    XXH3_128bits_update(&state, bytes.data(), bytes.size());
  };
  for (const model::Xattr& xattr : xattrs) {
    if (xattr.name == model::kSelinuxXattr) continue;
    add(xattr.name);
    add(xattr.value);
  }
  const XXH128_hash_t hash = XXH3_128bits_digest(&state);
  return {.low = hash.low64, .high = hash.high64};
}

}  // namespace fanmirror::hash
