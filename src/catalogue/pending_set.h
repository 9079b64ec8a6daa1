#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/change.h"

namespace fanmirror::catalogue {

struct PendingStore;

// The changes that one target has not proved yet, coalesced by where to look: one entry for each (kind, id, name).
// Kept in LMDB (env "pending"), without sync: it survives the death of the process, and is thrown away when the host
// was booted since (then a scan finds all anew, and half-written pages cannot be trusted). So memory does not grow with
// the backlog. Thread-safe.
//
// Sequence numbers order changes: every Note of a change takes the next. An entry knows its first (oldest change that
// is not proved) and its last (newest). Times are nanoseconds of one clock of the caller's choice that goes on over a
// restart of the process (CLOCK_BOOTTIME).
class PendingSet {
 public:
  // The longest wait of a failing entry for its next attempt after a fresh change to it: long enough that a file that
  // changes all the time does not fail all the time.
  static constexpr std::int64_t kFreshRetryNs = 1'000'000'000;

  struct Entry {
    model::Change change;
    std::uint64_t first_sequence = 0;
    std::uint64_t last_sequence = 0;
    std::int64_t first_ns = 0;  // when the oldest change was noted
    std::int64_t last_ns = 0;
    std::int64_t due_ns = 0;  // not to be looked at before
    int attempts = 0;         // failures in a row
    std::string path;         // of what failed last, relative to the target's root
    std::string error;        // of the last failure, one line
    std::int64_t taken_ns = 0;  // set by TakeDue: when it was taken
  };
  struct Timing {
    std::int64_t settle_ns = 0;     // quiet time before a change is due
    std::int64_t max_delay_ns = 0;  // due at the latest so long after the oldest change
  };

  // Opens or makes the set in `dir` (made 0700 when missing). `boot_id`: what /proc/sys/kernel/random/boot_id says;
  // when it differs from the stored one the set starts empty, and so it does when what is there cannot be read or was
  // written in another format. Entries taken and not settled before the process died are due at once.
  static absl::StatusOr<std::unique_ptr<PendingSet>> Open(const std::string& dir, const std::string& boot_id,
                                                          Timing timing);
  ~PendingSet();
  // The set in `dir`, which is not open, starts empty when it is opened next.
  static absl::Status Discard(const std::string& dir);

  // What somebody who remembers it for us may say: that this set has noted all that happened since.
  struct Completeness {
    std::uint64_t token = 0;  // random, not 0: names this very set with this scope
    std::string scope;        // what decides which changes are noted
  };
  // As noted last; nullopt when it never was, or the set began anew since.
  std::optional<Completeness> completeness() const;
  // Notes a change that stands for a scan of everything, and the completeness, in one transaction. Errors as of Note.
  absl::Status NoteScan(const model::Change& all, std::int64_t now_ns, const Completeness& completeness);

  // Adds the changes or merges them into their entries (content and startup flags are or-ed; attempts and error stay;
  // due = min(now + settle, first + max_delay), but never earlier than a back-off). A fresh change cuts what is left of a
  // back-off to kFreshRetryNs, because it may be the cure. An entry that is taken becomes due again besides, with
  // `first` being the first change since. One transaction. kRetry: no room, nothing was noted. kHaltJob: a change
  // without an id, or whose name is none.
  absl::Status Note(absl::Span<const model::Change> changes, std::int64_t now_ns);

  // Up to `max` entries whose time has come, oldest due first; they are taken: not returned again until noted anew,
  // settled or released.
  absl::StatusOr<std::vector<Entry>> TakeDue(std::int64_t now_ns, std::size_t max);

  // What remains to be done after entries were dealt with.
  struct Retry {
    model::Change change;  // any place, not only one that was taken
    std::int64_t due_ns = 0;
    bool failed = true;     // counts as an attempt; else only looked at again
    std::string error;      // one line, empty when not failed
    std::int64_t first_ns = 0;  // since when it is not proved
    // Of the oldest change that is not proved with it, for the barrier. 0: taken from the proved entries of the same
    // call that are not older than first_ns, and if there is none the retry counts as a new change.
    std::uint64_t first_sequence = 0;
    std::string path = {};  // of what failed, relative to the target's root
  };
  // In one transaction: `proved` entries are removed, unless they were noted again since they were taken (then their
  // oldest change becomes the first after the taking, first_ns = taken_ns); `retries` are added or merged, with
  // attempts + 1 when failed. A place in both lists stays, with its attempts; it keeps its first change too unless the
  // retry has no first_sequence and a later first_ns. A retry ends the taking of its place; one of changes before
  // it (first_sequence, or a proved entry's) is proved only by a later taking. Success sets attempts to 0.
  absl::Status Settle(absl::Span<const Entry> proved, absl::Span<const Retry> retries);

  // An entry whose retry has this due_ns is held: it is not due before ReleaseHeld, unless it is noted again.
  static constexpr std::int64_t kHeldNs = std::numeric_limits<std::int64_t>::max();
  // Up to `max` of the held entries, in the order of their places, from the one after `after` on (nullopt: from the first).
  absl::StatusOr<std::vector<model::Change>> Held(const std::optional<model::Change>& after, std::size_t max) const;
  // Makes up to `max` of them due at `now_ns`; how many that were.
  absl::StatusOr<std::size_t> ReleaseHeld(std::int64_t now_ns, std::size_t max);

  // Taken entries go back, due at once (the connection was lost).
  absl::Status Release(absl::Span<const Entry> taken);

  // When the store cannot be read: NextDue is 0 (the next TakeDue tells the error) and the oldest number is 0 (no
  // barrier falls).
  std::optional<std::int64_t> NextDue() const;         // of entries not taken (kHeldNs: all are held); nullopt when there is none
  std::uint64_t LastSequence() const;                  // the newest number given
  std::optional<std::uint64_t> OldestSequence() const; // smallest first_sequence, taken ones included
  std::optional<std::int64_t> OldestNs() const;        // first_ns of that entry
  std::uint64_t Size() const;                          // entries, taken ones included
  // The entry for the place of `change`, if there is one.
  absl::StatusOr<std::optional<Entry>> Find(const model::Change& change) const;
  // Whether all entries with a change up to `sequence` have failed at least once.
  bool OnlyFailing(std::uint64_t sequence) const;
  // Some entries that failed at least once, most recent failure first is not promised; for `status`.
  std::vector<Entry> Failing(std::size_t max) const;
  std::uint64_t FailingSize() const;  // entries that failed at least once

  // Up to `max` entries that are not taken, in an order of their own, from the one that follows `after` on (nullptr: from
  // the first). With taken_ns set to the time of a look at the source that began later, they can be settled.
  absl::StatusOr<std::vector<Entry>> List(const model::Change* after, std::size_t max) const;

  // The journal of batches: what each may have touched, noted before it is sent, so that after a lost connection or a
  // crash of ours it is known which places of the target are of unknown outcome.
  struct Touched {
    std::string path;        // on the target, relative to its root
    bool recursive = false;  // a directory was moved or exchanged there: all below is unknown, too
  };
  // Replaces what was recorded for this batch before.
  absl::Status RecordIntent(std::uint64_t batch, absl::Span<const Touched> touched);
  // What batches first..last touched; nullopt when the journal does not have all of them.
  absl::StatusOr<std::optional<std::vector<Touched>>> Intents(std::uint64_t first, std::uint64_t last) const;
  absl::Status DropIntents(std::uint64_t up_to_batch);

 private:
  PendingSet();
  std::unique_ptr<PendingStore> store_;
};

}  // namespace fanmirror::catalogue
