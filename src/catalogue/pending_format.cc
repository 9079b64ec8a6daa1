#include "catalogue/pending_format.h"

#include "catalogue/codec.h"
#include "catalogue/record_format.h"

namespace fanmirror::catalogue {
namespace {

constexpr std::uint8_t kContent = 1;
constexpr std::uint8_t kStartup = 2;
constexpr std::uint8_t kWaits = 4;
constexpr std::size_t kIndexNumberBytes = 8;

bool FitsPlace(const model::Change& change) {
  if (change.id.empty()) return false;
  return change.kind != model::Change::Kind::kName || IsEntryName(change.name);
}

}  // namespace

std::string PlaceKey(const model::Change& change) {
  std::string key;
  if (!FitsPlace(change)) return key;
  AppendLittle(static_cast<std::uint8_t>(change.kind), &key);
  change.id.AppendTo(&key);
  if (change.kind == model::Change::Kind::kName) key.append(change.name);
  return key;
}

std::string IndexKey(std::uint64_t ordered, std::string_view place) {
  std::string key;
  key.reserve(kIndexNumberBytes + place.size());
  AppendBig(ordered, &key);
  key.append(place);
  return key;
}

std::string_view PlaceOfIndexKey(std::string_view key) {
  return key.size() < kIndexNumberBytes ? std::string_view() : key.substr(kIndexNumberBytes);
}

std::optional<std::uint64_t> DecodeIndexNumber(std::string_view key) {
  Parser in(key);
  const std::uint64_t number = in.Big();
  if (!in.ok()) return std::nullopt;
  return number;
}

std::string EncodeEntry(const StoredEntry& entry) {
  std::string out;
  out.reserve(1 + 11 * 8 + 2 * 4 + entry.path.size() + entry.error.size());
  AppendLittle(static_cast<std::uint8_t>((entry.content ? kContent : 0) | (entry.startup ? kStartup : 0) |
                                         (entry.waits ? kWaits : 0)),
               &out);
  AppendLittle(entry.first, &out);
  AppendLittle(entry.last, &out);
  AppendLittle(entry.first_ns, &out);
  AppendLittle(entry.last_ns, &out);
  AppendLittle(entry.due_ns, &out);
  AppendLittle(entry.not_before_ns, &out);
  AppendLittle(entry.taken_last, &out);
  AppendLittle(entry.taken_ns, &out);
  AppendLittle(entry.since, &out);
  AppendLittle(entry.since_ns, &out);
  AppendLittle(entry.retried, &out);
  AppendLittle(entry.attempts, &out);
  AppendLittle(static_cast<std::uint32_t>(entry.path.size()), &out);
  out.append(entry.path);
  out.append(entry.error);
  return out;
}

std::optional<StoredEntry> DecodeEntry(std::string_view bytes) {
  Parser in(bytes);
  StoredEntry entry;
  const auto flags = in.Little<std::uint8_t>();
  entry.content = flags & kContent;
  entry.startup = flags & kStartup;
  entry.waits = flags & kWaits;
  entry.first = in.Little<std::uint64_t>();
  entry.last = in.Little<std::uint64_t>();
  entry.first_ns = in.Little<std::int64_t>();
  entry.last_ns = in.Little<std::int64_t>();
  entry.due_ns = in.Little<std::int64_t>();
  entry.not_before_ns = in.Little<std::int64_t>();
  entry.taken_last = in.Little<std::uint64_t>();
  entry.taken_ns = in.Little<std::int64_t>();
  entry.since = in.Little<std::uint64_t>();
  entry.since_ns = in.Little<std::int64_t>();
  entry.retried = in.Little<std::uint64_t>();
  entry.attempts = in.Little<std::uint32_t>();
  entry.path = std::string(in.Bytes(in.Little<std::uint32_t>()));
  entry.error = std::string(in.Rest());
  const bool sound = flags <= (kContent | kStartup | kWaits) && entry.first >= 1 &&
                     entry.first <= entry.last && entry.taken_last <= entry.last && entry.since <= entry.last &&
                     entry.retried <= entry.last;
  if (!in.ok() || !sound) return std::nullopt;
  return entry;
}

std::optional<model::Change> DecodePlace(std::string_view bytes) {
  Parser in(bytes);
  model::Change change;
  change.kind = static_cast<model::Change::Kind>(in.Little<std::uint8_t>());
  change.id = in.Id();
  change.name = std::string(in.Rest());
  const bool known = change.kind >= model::Change::Kind::kName && change.kind <= model::Change::Kind::kLimbo;
  const bool named = change.kind == model::Change::Kind::kName;
  if (!in.ok() || !known || named == change.name.empty() || !FitsPlace(change)) return std::nullopt;
  return change;
}

std::string EncodeCompleteness(const PendingSet::Completeness& completeness) {
  std::string out;
  AppendLittle(completeness.token, &out);
  out.append(completeness.scope);
  return out;
}

std::optional<PendingSet::Completeness> DecodeCompleteness(std::string_view bytes) {
  Parser in(bytes);
  PendingSet::Completeness completeness;
  completeness.token = in.Little<std::uint64_t>();
  completeness.scope = std::string(in.Rest());
  if (!in.ok() || completeness.token == 0) return std::nullopt;
  return completeness;
}

std::string JournalKey(std::uint64_t batch, std::uint32_t part) {
  std::string key;
  AppendBig(batch, &key);
  AppendBig(part, &key);
  return key;
}

std::optional<JournalPart> DecodeJournalKey(std::string_view bytes) {
  Parser in(bytes);
  JournalPart key;
  key.batch = in.Big();
  const std::uint64_t part = in.Big();
  if (!in.ok() || !in.at_end() || part > UINT32_MAX) return std::nullopt;
  key.part = static_cast<std::uint32_t>(part);
  return key;
}

void AppendTouched(const PendingSet::Touched& touched, std::string* out) {
  AppendLittle(static_cast<std::uint8_t>(touched.recursive), out);
  AppendLittle(static_cast<std::uint32_t>(touched.path.size()), out);
  out->append(touched.path);
}

bool DecodeTouched(std::string_view bytes, std::vector<PendingSet::Touched>* out) {
  Parser in(bytes);
  while (in.ok() && !in.at_end()) {
    PendingSet::Touched touched;
    const auto recursive = in.Little<std::uint8_t>();
    if (recursive > 1) in.Fail();
    touched.recursive = recursive == 1;
    touched.path = std::string(in.Bytes(in.Little<std::uint32_t>()));
    if (in.ok()) out->push_back(std::move(touched));
  }
  return in.ok();
}

}  // namespace fanmirror::catalogue
