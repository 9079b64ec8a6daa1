#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace fanmirror::model {

// The identity of a node of the source: its kernel file handle (name_to_handle_at(2)), which holds the inode
// and its generation and so is never reused for another node. Beside the kernel's handles there are two kinds
// of our own: the limbo directory (where the target keeps what has lost its name and may yet get a new one),
// and foreign nodes (what a target holds and no source node is known for).
class FileId {
 public:
  // Bytes of the largest handle we take. ext4 8, tmpfs 12, xfs 12-20, btrfs 20, overlayfs 32.
  static constexpr std::size_t kMaxHandleBytes = 38;
  // Kernel handle types are 1..0xfc for our purposes (0xff is FILEID_INVALID).
  static constexpr std::uint8_t kLimboType = 0xfd;
  static constexpr std::uint8_t kForeignType = 0xfe;

  FileId() = default;  // empty: identifies nothing

  // From a kernel file handle. nullopt when the handle is larger than kMaxHandleBytes or its type is not 1..0xfc.
  static std::optional<FileId> FromHandle(int type, std::string_view bytes);
  static FileId Limbo();
  static FileId Foreign(std::uint64_t number);

  bool empty() const { return type_ == 0; }
  bool is_limbo() const { return type_ == kLimboType; }
  bool is_foreign() const { return type_ == kForeignType; }
  int type() const { return type_; }
  std::string_view bytes() const { return {bytes_.data(), size_}; }

  // One byte of type, one of length, then the handle: self-delimiting and stable, for the store.
  void AppendTo(std::string* out) const;
  std::string Encode() const;
  // Takes one encoded id off the front of `in`; nullopt (and `in` untouched) when it is not one.
  static std::optional<FileId> Consume(std::string_view* in);

  // For messages: "type:hex".
  std::string ToString() const;

  friend bool operator==(const FileId&, const FileId&) = default;
  friend std::strong_ordering operator<=>(const FileId&, const FileId&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const FileId& id) {
    return H::combine(std::move(h), id.type_, id.bytes());
  }

 private:
  std::uint8_t type_ = 0;
  std::uint8_t size_ = 0;
  std::array<char, kMaxHandleBytes> bytes_{};  // zero beyond size_, so that the defaulted comparisons hold
};

}  // namespace fanmirror::model
