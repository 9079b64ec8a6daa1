#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "os/unique_fd.h"

namespace fanmirror::watch {

// The memory that events are read into, which outlives the process as the fanotify group does, by a descriptor that
// somebody else keeps. An event that read(2) took off the queue is nowhere else; so the kernel puts it straight into
// this mapping of a memfd, and it stays there until every subscriber has noted it in its pending set. With that, an
// event is, at each instant at which the process may be killed, in the queue, here, or noted; some are in two places,
// and an event that is told twice does no harm.
//
//   page 0   magic, format, what the group was asked for, boot id, filesystem, the mark as the kernel shows it, stage
//   page 1   the tokens of the pending sets that are complete: u64 each, 0 for a free slot
//   region   events as read(2) gave them, then zeros
//
// Invariants, each by one store that a kill cannot tear:
// - The magic is written last: what was not made to its end is not taken for a buffer.
// - Stage kFilling: what the region holds up to the first zero length may not be noted. The kernel writes events in
//   their order, each from its length on, and is not interrupted by a kill in the middle of one, because all pages are
//   there and locked. Stage kDispatched: all of it is noted, and zeroing has begun; the region is garbage.
// - A token is in page 1 only while all that was taken off the queue since SetComplete is noted in its pending set, or
//   is in the region. So it is taken out before something goes from the region that was not noted there; and whoever
//   comes to life without its pending set at hand takes it out before the first event is dispatched.
//
// Not thread-safe, but for the tokens against the region.
class KeptBuffer {
 public:
  static constexpr std::size_t kRegionBytes = 256U << 10;  // some 2,000 events: larger reads are no faster
  static constexpr std::size_t kMaxTokens = 512;

  // What the events of a buffer are events of. Compared as a whole.
  struct Identity {
    std::uint64_t group_flags = 0;  // as asked for
    std::uint64_t mask = 0;
    std::string boot_id;
    std::string filesystem;  // Mount::filesystem
    std::string mark;        // DescribeMarks
    friend bool operator==(const Identity&, const Identity&) = default;
  };

  static absl::StatusOr<KeptBuffer> Create(const Identity& identity);
  // One that another process made. An error says why it is none that can be believed.
  static absl::StatusOr<KeptBuffer> Map(os::UniqueFd fd);
  KeptBuffer(KeptBuffer&& other) noexcept;
  KeptBuffer& operator=(KeptBuffer&&) = delete;
  ~KeptBuffer();

  int fd() const { return fd_.get(); }
  Identity identity() const;
  // Whether the pages are locked. If not, a kill in the middle of a read may lose an event, and SetComplete does
  // nothing.
  bool locked() const { return locked_; }

  // To read into; all zeros but between a read and Clear.
  absl::Span<char> region() const { return {map_ + kRegionAt, kRegionBytes}; }
  // What the process before took off the queue and may not have noted: whole events. An error when it is no sequence of
  // events.
  absl::StatusOr<std::string_view> Undispatched() const;
  // The first `bytes` of the region are noted, wherever they have to be.
  void Clear(std::size_t bytes);

  bool IsComplete(std::uint64_t token) const;
  void SetComplete(std::uint64_t token);  // does nothing when all slots are taken
  void SetIncomplete(std::uint64_t token);
  // All tokens but these are incomplete.
  void SetOthersIncomplete(absl::Span<const std::uint64_t> tokens);

 private:
  struct Header;
  static constexpr std::size_t kPage = 4096;
  static constexpr std::size_t kTokensAt = kPage;
  static constexpr std::size_t kRegionAt = 2 * kPage;
  static constexpr std::size_t kBytes = kRegionAt + kRegionBytes;

  KeptBuffer(os::UniqueFd fd, char* map, bool locked) : fd_(std::move(fd)), map_(map), locked_(locked) {}
  static absl::StatusOr<KeptBuffer> MapAll(os::UniqueFd fd);
  Header* header() const { return reinterpret_cast<Header*>(map_); }
  absl::Span<std::uint64_t> tokens() const {
    return {reinterpret_cast<std::uint64_t*>(map_ + kTokensAt), kMaxTokens};
  }

  os::UniqueFd fd_;
  char* map_;
  bool locked_;
};

}  // namespace fanmirror::watch
