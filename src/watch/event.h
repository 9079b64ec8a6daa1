#pragma once

#include <cstdint>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "model/file_id.h"

namespace fanmirror::watch {

// An entry as an event names it. `name` points into the buffer that was parsed.
struct EventEntry {
  model::FileId dir;      // empty when the event does not tell
  std::string_view name;  // "." for the directory itself
};

// One fanotify event of a group made with FAN_REPORT_DFID_NAME_TARGET. The kernel merges events of one
// process and one object, so `mask` may hold several, whose order is lost.
struct Event {
  std::uint64_t mask = 0;
  int pid = 0;           // of the process, not of its thread; 0 outside our pid namespace
  model::FileId target;  // the node it is about; empty when the event does not tell
  EventEntry entry;      // all but FAN_RENAME
  EventEntry from;       // FAN_RENAME
  EventEntry to;
};

// Calls `consume` for each event of `buffer`, as read(2) gave it. False when the buffer is not a whole
// sequence of well-formed events: then what was consumed is sound, and the rest is unknown.
bool ParseEvents(std::string_view buffer, absl::FunctionRef<void(const Event&)> consume);

}  // namespace fanmirror::watch
