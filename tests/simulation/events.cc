#include "simulation/events.h"

#include <fcntl.h>
#include <sys/fanotify.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <utility>

#include "simulation/failure.h"
#include "simulation/kernel.h"

namespace fanmirror::simulation {
namespace {

// As watch/mark.cc has them.
constexpr unsigned kGroupFlags =
    FAN_CLASS_NOTIF | FAN_REPORT_DFID_NAME_TARGET | FAN_UNLIMITED_QUEUE | FAN_NONBLOCK | FAN_CLOEXEC;
constexpr std::uint64_t kMask =
    FAN_CREATE | FAN_DELETE | FAN_RENAME | FAN_MODIFY | FAN_CLOSE_WRITE | FAN_ATTRIB | FAN_ONDIR;
constexpr std::size_t kLargestEventBytes = 512;
constexpr std::size_t kBufferBytes = 64 << 10;

// The handles in events become those that the source's process knows.
void HideHandles(char* buffer, std::size_t size) {
  for (std::size_t at = 0; at < size;) {
    fanotify_event_metadata event{};
    std::memcpy(&event, buffer + at, sizeof event);
    for (std::size_t record = at + event.metadata_len; record < at + event.event_len;) {
      fanotify_event_info_header header{};
      std::memcpy(&header, buffer + record, sizeof header);
      // The header, the filesystem's id, then the handle: bytes, type, and what is in it.
      char* const handle = buffer + record + sizeof header + sizeof(__kernel_fsid_t);
      if (header.info_type != FAN_EVENT_INFO_TYPE_PIDFD && header.info_type != FAN_EVENT_INFO_TYPE_ERROR) {
        Kernel::Get().HideHandle(reinterpret_cast<unsigned char*>(handle) + 2 * sizeof(int));
      }
      record += header.len;
    }
    at += event.event_len;
  }
}

}  // namespace

EventQueue::EventQueue(const std::string& filesystem) : group_(fanotify_init(kGroupFlags, O_RDONLY | O_CLOEXEC)) {
  Require(static_cast<bool>(group_), "make a fanotify group");
  Require(fanotify_mark(group_.get(), FAN_MARK_ADD | FAN_MARK_FILESYSTEM, kMask, AT_FDCWD, filesystem.c_str()) == 0,
          "mark " + filesystem);
}

bool EventQueue::Deliver(std::size_t bytes, watch::EventDispatch* dispatch) {
  if (!std::exchange(again_, false)) {
    std::array<char, kBufferBytes> buffer;
    const ssize_t got = read(group_.get(), buffer.data(), std::min(std::max(bytes, kLargestEventBytes), buffer.size()));
    if (got <= 0) return false;
    HideHandles(buffer.data(), static_cast<std::size_t>(got));
    delivered_.assign(buffer.data(), static_cast<std::size_t>(got));
  }
  const SideScope scope(Side::kSource);
  constexpr int kNoProcess = -1;  // the user is of this process, too
  dispatch->Dispatch({delivered_.data(), delivered_.size()}, kNoProcess);
  return true;
}

void EventQueue::Drop() {
  again_ = false;
  std::array<char, kBufferBytes> buffer;
  while (read(group_.get(), buffer.data(), buffer.size()) > 0) {
  }
}

}  // namespace fanmirror::simulation
