#include "watch/kept_buffer.h"

#include <fcntl.h>
#include <sys/fanotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "model/failure.h"
#include "watch/event.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U  // Linux 6.3
#endif

namespace fanmirror::watch {
namespace {

using model::Reaction;

constexpr char kMemory[] = "the buffer of events";
constexpr std::uint64_t kMagic = 0x6675'626b'6d6e'6166;  // "fanmkbuf"
// Of the layout and of the meaning of what is kept; raised when an older program's buffer is not to be believed.
constexpr std::uint32_t kFormat = 1;
// The size is fixed for whoever maps it: nobody can make it raise SIGBUS.
constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

constexpr std::uint32_t kFilling = 0;
constexpr std::uint32_t kDispatched = 1;

absl::Status Refuse(std::string_view why) {
  return model::Failure(Reaction::kLookAgain, absl::StrCat("kept events: ", std::string(why)));
}

template <std::size_t N>
bool Store(std::string_view text, char (&field)[N]) {
  if (text.size() >= N) return false;
  text.copy(field, text.size());
  return true;
}

template <std::size_t N>
std::string Text(const char (&field)[N]) {
  return {field, strnlen(field, N)};
}

// Keeps the order of the stores around it, as a process that takes over sees them. Against a kill, the order of the
// instructions is enough.
void StoreInOrder(std::uint32_t value, std::uint32_t* at) {
  std::atomic_signal_fence(std::memory_order_seq_cst);
  std::atomic_ref(*at).store(value);
  std::atomic_signal_fence(std::memory_order_seq_cst);
}

}  // namespace

struct KeptBuffer::Header {
  std::uint64_t magic;
  std::uint32_t format;
  std::uint32_t stage;
  std::uint64_t group_flags;
  std::uint64_t mask;
  char boot_id[64];
  char filesystem[512];
  char mark[512];
};

absl::StatusOr<KeptBuffer> KeptBuffer::MapAll(os::UniqueFd fd) {
  void* map = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd.get(), 0);
  if (map == MAP_FAILED) return model::SystemFailure(Reaction::kRetry, "mmap", kMemory, errno);
  const bool locked = mlock(map, kBytes) == 0;
  return KeptBuffer(std::move(fd), static_cast<char*>(map), locked);
}

absl::StatusOr<KeptBuffer> KeptBuffer::Create(const Identity& identity) {
  static_assert(sizeof(Header) <= kPage && kMaxTokens * sizeof(std::uint64_t) <= kPage);
  constexpr unsigned kFlags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  os::UniqueFd fd(memfd_create("fanmirror-events", kFlags | MFD_NOEXEC_SEAL));
  if (!fd && errno == EINVAL) fd.reset(memfd_create("fanmirror-events", kFlags));
  if (!fd) return model::SystemFailure(Reaction::kRetry, "memfd_create", kMemory, errno);
  if (ftruncate(fd.get(), kBytes) != 0) return model::SystemFailure(Reaction::kRetry, "ftruncate", kMemory, errno);
  if (fcntl(fd.get(), F_ADD_SEALS, kSeals) != 0) {
    return model::SystemFailure(Reaction::kRetry, "fcntl F_ADD_SEALS", kMemory, errno);
  }
  auto buffer = MapAll(std::move(fd));
  if (!buffer.ok()) return buffer;
  Header* header = buffer->header();
  header->format = kFormat;
  header->group_flags = identity.group_flags;
  header->mask = identity.mask;
  const bool fits = Store(identity.boot_id, header->boot_id) && Store(identity.filesystem, header->filesystem) &&
                    Store(identity.mark, header->mark);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  if (fits) header->magic = kMagic;  // if not: events are taken, and a later process scans
  return buffer;
}

absl::StatusOr<KeptBuffer> KeptBuffer::Map(os::UniqueFd fd) {
  struct stat status {};
  const int seals = fcntl(fd.get(), F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals || fstat(fd.get(), &status) != 0 ||
      status.st_size != static_cast<off_t>(kBytes)) {
    return Refuse("the descriptor is of something else, or of another version of fanmirror");
  }
  auto buffer = MapAll(std::move(fd));
  if (!buffer.ok()) return buffer;
  if (buffer->header()->magic != kMagic) return Refuse("they were never complete");
  if (buffer->header()->format != kFormat) return Refuse("they are of another version of fanmirror");
  return buffer;
}

KeptBuffer::KeptBuffer(KeptBuffer&& other) noexcept
    : fd_(std::move(other.fd_)), map_(std::exchange(other.map_, nullptr)), locked_(other.locked_) {}

KeptBuffer::~KeptBuffer() {
  if (map_ != nullptr) munmap(map_, kBytes);
}

KeptBuffer::Identity KeptBuffer::identity() const {
  const Header& from = *header();
  return {from.group_flags, from.mask, Text(from.boot_id), Text(from.filesystem), Text(from.mark)};
}

absl::StatusOr<std::string_view> KeptBuffer::Undispatched() const {
  if (std::atomic_ref(header()->stage).load() == kDispatched) return std::string_view();
  const std::string_view region(map_ + kRegionAt, kRegionBytes);
  std::size_t end = 0;
  while (end + sizeof(fanotify_event_metadata) <= region.size()) {
    std::uint32_t length = 0;  // the first field of an event
    std::memcpy(&length, region.data() + end, sizeof(length));
    if (length == 0) break;
    if (length > region.size() - end) return Refuse("an event is longer than the buffer");
    end += length;
  }
  const std::string_view events = region.substr(0, end);
  if (!ParseEvents(events, [](const Event&) {})) return Refuse("an event is torn");
  return events;
}

void KeptBuffer::Clear(std::size_t bytes) {
  StoreInOrder(kDispatched, &header()->stage);
  std::memset(map_ + kRegionAt, 0, bytes);
  StoreInOrder(kFilling, &header()->stage);
}

bool KeptBuffer::IsComplete(std::uint64_t token) const {
  return std::any_of(tokens().begin(), tokens().end(),
                     [token](std::uint64_t& slot) { return std::atomic_ref(slot).load() == token; });
}

void KeptBuffer::SetComplete(std::uint64_t token) {
  if (!locked_ || IsComplete(token)) return;
  for (std::uint64_t& slot : tokens()) {
    if (std::atomic_ref(slot).load() != 0) continue;
    std::atomic_ref(slot).store(token);
    return;
  }
}

void KeptBuffer::SetIncomplete(std::uint64_t token) {
  for (std::uint64_t& slot : tokens()) {
    if (std::atomic_ref(slot).load() == token) std::atomic_ref(slot).store(0);
  }
}

void KeptBuffer::SetOthersIncomplete(absl::Span<const std::uint64_t> kept) {
  for (std::uint64_t& slot : tokens()) {
    const std::uint64_t token = std::atomic_ref(slot).load();
    if (std::find(kept.begin(), kept.end(), token) == kept.end()) std::atomic_ref(slot).store(0);
  }
}

}  // namespace fanmirror::watch
