#include "catalogue/record_format.h"

#include <algorithm>
#include <bit>

#include "catalogue/codec.h"

namespace fanmirror::catalogue {
namespace {

constexpr std::uint8_t kContentKnown = 1;
constexpr std::uint8_t kRacy = 2;
constexpr std::uint8_t kDevice = 4;
constexpr std::size_t kWideHandleBytes = 12;  // and more: the inode number has 8 bytes
constexpr std::uint32_t kMaxMode = 07777;
constexpr std::uint32_t kMaxNanoseconds = 999'999'999;

bool InRange(const model::Metadata& metadata) {
  return metadata.type >= model::NodeType::kRegular && metadata.type <= model::NodeType::kBlockDevice &&
         metadata.mode <= kMaxMode && metadata.mtime.nanoseconds <= kMaxNanoseconds &&
         metadata.ctime.nanoseconds <= kMaxNanoseconds;
}

void AppendTime(const model::Timestamp& time, std::string* out) {
  AppendLittle(time.seconds, out);
  AppendLittle(time.nanoseconds, out);
}

model::Timestamp ParseTime(Parser* in) {
  model::Timestamp time;
  time.seconds = in->Little<std::int64_t>();
  time.nanoseconds = in->Little<std::uint32_t>();
  return time;
}

Record ParseRecord(Parser* in) {
  Record record;
  const auto flags = in->Little<std::uint8_t>();
  if (flags > (kContentKnown | kRacy | kDevice)) in->Fail();
  model::Metadata& metadata = record.metadata;
  metadata.type = static_cast<model::NodeType>(in->Little<std::uint8_t>());
  metadata.mode = in->Little<std::uint16_t>();
  metadata.uid = in->Little<std::uint32_t>();
  metadata.gid = in->Little<std::uint32_t>();
  metadata.size = in->Little<std::uint64_t>();
  metadata.mtime = ParseTime(in);
  metadata.ctime = ParseTime(in);
  metadata.links = in->Little<std::uint32_t>();
  if (flags & kDevice) {
    metadata.device_major = in->Little<std::uint32_t>();
    metadata.device_minor = in->Little<std::uint32_t>();
    if (metadata.device_major == 0 && metadata.device_minor == 0) in->Fail();
  }
  record.content_known = flags & kContentKnown;
  if (record.content_known) {
    record.content.low = in->Little<std::uint64_t>();
    record.content.high = in->Little<std::uint64_t>();
  }
  record.racy = flags & kRacy;
  if (!InRange(metadata)) in->Fail();
  return record;
}

bool AppendText(std::string_view text, std::string* out) {
  if (text.size() > kMaxHeaderText) return false;
  AppendLittle(static_cast<std::uint8_t>(text.size()), out);
  out->append(text);
  return true;
}

std::string ParseText(Parser* in) { return std::string(in->Bytes(in->Little<std::uint8_t>())); }

}  // namespace

bool IsEntryName(std::string_view name) {
  return !name.empty() && name.size() <= kMaxNameBytes && name.find('/') == name.npos &&
         name.find('\0') == name.npos;
}

std::string NodeKey(const model::FileId& id) {
  std::string key = id.Encode();
  if constexpr (std::endian::native == std::endian::little) {
    const std::size_t handle = key.size() - id.bytes().size();
    const std::size_t word = id.bytes().size() >= kWideHandleBytes ? 8 : 4;
    const std::size_t end = std::min(key.size(), handle + word);
    std::reverse(key.begin() + static_cast<std::ptrdiff_t>(handle),
                 key.begin() + static_cast<std::ptrdiff_t>(end));
  }
  return key;
}

std::string NameKey(const model::Name& name) {
  std::string key = name.dir.Encode();
  key.append(name.name);
  return key;
}

std::optional<std::string> EncodeNode(const Record& record, const std::vector<model::Name>& names) {
  const model::Metadata& metadata = record.metadata;
  if (!InRange(metadata)) return std::nullopt;
  const bool device = metadata.device_major != 0 || metadata.device_minor != 0;
  std::string out;
  AppendLittle(static_cast<std::uint8_t>((record.content_known ? kContentKnown : 0) |
                                         (record.racy ? kRacy : 0) | (device ? kDevice : 0)),
               &out);
  AppendLittle(static_cast<std::uint8_t>(metadata.type), &out);
  AppendLittle(static_cast<std::uint16_t>(metadata.mode), &out);
  AppendLittle(metadata.uid, &out);
  AppendLittle(metadata.gid, &out);
  AppendLittle(metadata.size, &out);
  AppendTime(metadata.mtime, &out);
  AppendTime(metadata.ctime, &out);
  AppendLittle(metadata.links, &out);
  if (device) {
    AppendLittle(metadata.device_major, &out);
    AppendLittle(metadata.device_minor, &out);
  }
  if (record.content_known) {
    AppendLittle(record.content.low, &out);
    AppendLittle(record.content.high, &out);
  }
  for (const model::Name& name : names) {
    if (name.dir.empty() || !IsEntryName(name.name)) return std::nullopt;
    name.dir.AppendTo(&out);
    AppendLittle(static_cast<std::uint8_t>(name.name.size()), &out);
    out.append(name.name);
  }
  return out;
}

std::optional<StoredNode> DecodeNode(std::string_view bytes) {
  Parser in(bytes);
  StoredNode node;
  node.record = ParseRecord(&in);
  while (in.ok() && !in.at_end()) {
    model::Name name;
    name.dir = in.Id();
    name.name = std::string(in.Bytes(in.Little<std::uint8_t>()));
    if (!IsEntryName(name.name)) in.Fail();
    node.names.push_back(std::move(name));
  }
  if (!in.ok()) return std::nullopt;
  return node;
}

std::optional<Record> DecodeRecord(std::string_view bytes) {
  Parser in(bytes);
  Record record = ParseRecord(&in);
  if (!in.ok()) return std::nullopt;
  return record;
}

std::optional<model::FileId> DecodeId(std::string_view bytes) {
  Parser in(bytes);
  const model::FileId id = in.Id();
  if (!in.ok() || !in.at_end()) return std::nullopt;
  return id;
}

std::optional<std::string> EncodeHeader(const Catalogue::Header& header) {
  std::string out;
  AppendLittle(header.batch, &out);
  AppendLittle(header.listed, &out);
  AppendLittle(static_cast<std::uint8_t>(header.complete), &out);
  AppendLittle(static_cast<std::uint8_t>(!header.root.empty()), &out);
  if (!header.root.empty()) header.root.AppendTo(&out);
  if (!AppendText(header.instance, &out) || !AppendText(header.filesystem, &out)) return std::nullopt;
  if (header.held_of != 0) AppendLittle(header.held_of, &out);
  return out;
}

std::optional<Catalogue::Header> DecodeHeader(std::string_view bytes) {
  Parser in(bytes);
  Catalogue::Header header;
  header.batch = in.Little<std::uint64_t>();
  header.listed = in.Little<std::uint64_t>();
  const auto complete = in.Little<std::uint8_t>();
  if (complete > 1) in.Fail();
  header.complete = complete == 1;
  const auto has_root = in.Little<std::uint8_t>();
  if (has_root > 1) in.Fail();
  if (has_root == 1) header.root = in.Id();
  header.instance = ParseText(&in);
  header.filesystem = ParseText(&in);
  if (in.ok() && !in.at_end()) {
    header.held_of = in.Little<std::uint64_t>();
    if (header.held_of == 0) in.Fail();
  }
  if (!in.ok() || !in.at_end()) return std::nullopt;
  return header;
}

}  // namespace fanmirror::catalogue
