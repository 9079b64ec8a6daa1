#pragma once

#include <bit>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "model/file_id.h"

namespace fanmirror::catalogue {

// Fixed-width numbers are little-endian in values. In keys they are big-endian, so that LMDB's order of bytes
// is the order of the numbers; signed ones have their sign bit flipped for the same reason.

template <typename T>
void AppendLittle(T value, std::string* out) {
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    out->push_back(static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * i) & 0xff));
  }
}

inline void AppendBig(std::uint64_t value, std::string* out) {
  for (int shift = 56; shift >= 0; shift -= 8) out->push_back(static_cast<char>(value >> shift & 0xff));
}

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
    std::uint64_t value = 0;
    const std::string_view bytes = Bytes(sizeof(T));
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      value |= std::uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
    }
    return static_cast<T>(value);
  }

  std::uint64_t Big() {
    std::uint64_t value = 0;
    for (const char byte : Bytes(8)) value = value << 8 | static_cast<unsigned char>(byte);
    return value;
  }

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
