#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "model/file_id.h"

namespace fanmirror::catalogue {

// Fixed-width numbers are little-endian in values. In keys they are big-endian, so that LMDB's order of bytes
// is the order of the numbers; signed ones have their sign bit flipped for the same reason.

static_assert(std::endian::native == std::endian::little, "numbers are copied as they lie in memory");

template <typename T>
void AppendLittle(T value, std::string* out) {
  out->append(reinterpret_cast<const char*>(&value), sizeof value);
}

inline void AppendBig(std::uint64_t value, std::string* out) { AppendLittle(__builtin_bswap64(value), out); }

inline std::uint64_t OrderedBits(std::int64_t value) {
  return std::bit_cast<std::uint64_t>(value) ^ (std::uint64_t{1} << 63);
}

inline std::int64_t FromOrderedBits(std::uint64_t bits) {
  return std::bit_cast<std::int64_t>(bits ^ (std::uint64_t{1} << 63));
}

// Takes fields off the front of bytes of unknown quality. After the first field that is not there everything
// reads as zero or empty and ok() is false, so that a parser checks once, at its end.
class Parser {
 public:
  explicit Parser(std::string_view in) : in_(in) {}

  template <typename T>
  T Little() {
    T value{};
    if (const std::string_view bytes = Bytes(sizeof value); ok_)
      std::memcpy(&value, bytes.data(), sizeof value);
    return value;
  }

  std::uint64_t Big() { return __builtin_bswap64(Little<std::uint64_t>()); }

  model::FileId Id() {
    const auto id = ok_ ? model::FileId::Consume(&in_) : std::nullopt;
    if (!id) Fail();
    return id.value_or(model::FileId());
  }

  // The next `size` bytes; they live as long as what is parsed.
  std::string_view Bytes(std::size_t size) {
    if (in_.size() < size) {
      Fail();
      return {};
    }
    const std::string_view out = in_.substr(0, size);
    in_.remove_prefix(size);
    return out;
  }

  std::string_view Rest() { return Bytes(in_.size()); }

  void Fail() {
    ok_ = false;
    in_ = {};
  }
  bool ok() const { return ok_; }
  bool at_end() const { return in_.empty(); }

 private:
  std::string_view in_;
  bool ok_ = true;
};

}  // namespace fanmirror::catalogue
