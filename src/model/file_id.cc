#include "model/file_id.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace fanmirror::model {

std::optional<FileId> FileId::FromHandle(int type, std::string_view bytes) {
  if (type < 1 || type >= kLimboType || bytes.size() > kMaxHandleBytes) return std::nullopt;
  FileId id;
  id.type_ = static_cast<std::uint8_t>(type);
  id.size_ = static_cast<std::uint8_t>(bytes.size());
  std::memcpy(id.bytes_.data(), bytes.data(), bytes.size());
  return id;
}

FileId FileId::Limbo() {
  FileId id;
  id.type_ = kLimboType;
  return id;
}

FileId FileId::Foreign(std::uint64_t number) {
  FileId id;
  id.type_ = kForeignType;
  id.size_ = sizeof number;
  std::memcpy(id.bytes_.data(), &number, sizeof number);
  return id;
}

void FileId::AppendTo(std::string* out) const {
  out->push_back(static_cast<char>(type_));
  out->push_back(static_cast<char>(size_));
  out->append(bytes_.data(), size_);
}

std::string FileId::Encode() const {
  std::string out;
  AppendTo(&out);
  return out;
}

std::optional<FileId> FileId::Consume(std::string_view* in) {
  if (in->size() < 2) return std::nullopt;
  const auto type = static_cast<std::uint8_t>((*in)[0]);
  const auto size = static_cast<std::uint8_t>((*in)[1]);
  if (type == 0 || type == 0xff || size > kMaxHandleBytes || in->size() < 2u + size) return std::nullopt;
  FileId id;
  id.type_ = type;
  id.size_ = size;
  std::memcpy(id.bytes_.data(), in->data() + 2, size);
  in->remove_prefix(2u + size);
  return id;
}

std::string FileId::ToString() const {
  return absl::StrCat(static_cast<int>(type_), ":", absl::BytesToHexString(std::string(bytes())));
}

}  // namespace fanmirror::model
