#pragma once

#include <endian.h>

#include <array>
#include <cstdint>

#include "absl/types/span.h"
#include "model/metadata.h"

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

}  // namespace fanmirror::hash
