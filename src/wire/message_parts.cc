#include "wire/message_parts.h"

#include "absl/strings/str_cat.h"
#include "model/failure.h"

namespace fanmirror::wire {

absl::Status Malformed(std::string_view what, std::string_view why) {
  return model::Failure(
      model::Reaction::kReconnect,
      absl::StrCat("the peer sent a malformed ", std::string(what), " message: ", std::string(why)));
}

std::string OneLine(std::string_view text) {
  constexpr std::size_t kMaxLineBytes = 2'000;
  std::string line(text.substr(0, kMaxLineBytes));
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return line;
}

bool IsReaction(std::uint32_t value) {
  return value >= static_cast<std::uint32_t>(model::Reaction::kRetry) &&
         value <= static_cast<std::uint32_t>(model::Reaction::kHaltJob);
}

void ToMessage(const model::Metadata& metadata, pb::Metadata* out) {
  out->set_type(static_cast<std::uint32_t>(metadata.type));
  out->set_mode(metadata.mode);
  out->set_uid(metadata.uid);
  out->set_gid(metadata.gid);
  out->set_size(metadata.size);
  out->mutable_mtime()->set_seconds(metadata.mtime.seconds);
  out->mutable_mtime()->set_nanoseconds(metadata.mtime.nanoseconds);
  out->set_device_major(metadata.device_major);
  out->set_device_minor(metadata.device_minor);
}

absl::Status FromMessage(const pb::Metadata& in, model::Metadata* out) {
  if (in.type() < static_cast<std::uint32_t>(model::NodeType::kRegular) ||
      in.type() > static_cast<std::uint32_t>(model::NodeType::kBlockDevice)) {
    return Malformed("Metadata", absl::StrCat("unknown node type ", in.type()));
  }
  if (in.mode() > 07777) return Malformed("Metadata", "a mode beyond 07777");
  if (in.mtime().nanoseconds() > 999'999'999) return Malformed("Metadata", "nanoseconds of a second or more");
  if (in.size() > INT64_MAX) return Malformed("Metadata", "a size beyond 2^63");
  if (in.device_major() > 0xfff || in.device_minor() > 0xfffff) {
    return Malformed("Metadata", "a device number beyond the kernel's 12 and 20 bits");
  }
  out->type = static_cast<model::NodeType>(in.type());
  out->mode = in.mode();
  out->uid = in.uid();
  out->gid = in.gid();
  out->size = in.size();
  out->mtime = {in.mtime().seconds(), in.mtime().nanoseconds()};
  out->device_major = in.device_major();
  out->device_minor = in.device_minor();
  return absl::OkStatus();
}

}  // namespace fanmirror::wire
