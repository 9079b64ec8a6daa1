#include "watch/event.h"

#include <sys/fanotify.h>

#include <cstring>
#include <optional>

namespace fanmirror::watch {
namespace {

// Takes a T off the front; the buffer need not be aligned.
template <typename T>
bool Take(std::string_view* in, T* out) {
  if (in->size() < sizeof(T)) return false;
  std::memcpy(out, in->data(), sizeof(T));
  in->remove_prefix(sizeof(T));
  return true;
}

// The handle after a record's header: fsid, struct file_handle. An id that FileId does not take stays empty.
bool TakeHandle(std::string_view* record, model::FileId* id) {
  __kernel_fsid_t fsid{};
  std::uint32_t bytes = 0;
  std::int32_t type = 0;
  if (!Take(record, &fsid) || !Take(record, &bytes) || !Take(record, &type) || record->size() < bytes)
    return false;
  *id = model::FileId::FromHandle(type, record->substr(0, bytes)).value_or(model::FileId());
  record->remove_prefix(bytes);
  return true;
}

bool TakeEntry(std::string_view* record, EventEntry* entry) {
  if (!TakeHandle(record, &entry->dir)) return false;
  const std::size_t length = record->find('\0');
  if (length == std::string_view::npos) return false;
  entry->name = record->substr(0, length);
  return !entry->name.empty() && entry->name.find('/') == std::string_view::npos;
}

bool ParseRecord(int type, std::string_view record, Event* event) {
  switch (type) {
    case FAN_EVENT_INFO_TYPE_FID:
      return TakeHandle(&record, &event->target);
    case FAN_EVENT_INFO_TYPE_DFID:
      event->entry.name = ".";
      return TakeHandle(&record, &event->entry.dir);
    case FAN_EVENT_INFO_TYPE_DFID_NAME:
      return TakeEntry(&record, &event->entry);
    case FAN_EVENT_INFO_TYPE_OLD_DFID_NAME:
      return TakeEntry(&record, &event->from);
    case FAN_EVENT_INFO_TYPE_NEW_DFID_NAME:
      return TakeEntry(&record, &event->to);
    default:
      return true;  // newer kernels may tell more; what we need is told by the others
  }
}

bool ParseRecords(std::string_view records, Event* event) {
  while (!records.empty()) {
    fanotify_event_info_header header{};
    std::string_view rest = records;
    if (!Take(&rest, &header) || header.len < sizeof(header) || header.len > records.size()) return false;
    if (!ParseRecord(header.info_type, records.substr(sizeof(header), header.len - sizeof(header)), event)) {
      return false;
    }
    records.remove_prefix(header.len);
  }
  return true;
}

}  // namespace

bool ParseEvents(std::string_view buffer, absl::FunctionRef<void(const Event&)> consume) {
  while (!buffer.empty()) {
    fanotify_event_metadata metadata{};
    std::string_view rest = buffer;
    if (!Take(&rest, &metadata) || metadata.vers != FANOTIFY_METADATA_VERSION ||
        metadata.metadata_len < sizeof(metadata) || metadata.event_len < metadata.metadata_len ||
        metadata.event_len > buffer.size()) {
      return false;
    }
    Event event;
    event.mask = metadata.mask;
    event.pid = metadata.pid;
    const std::size_t records = metadata.event_len - metadata.metadata_len;
    if (!ParseRecords(buffer.substr(metadata.metadata_len, records), &event)) return false;
    consume(event);
    buffer.remove_prefix(metadata.event_len);
  }
  return true;
}

}  // namespace fanmirror::watch
