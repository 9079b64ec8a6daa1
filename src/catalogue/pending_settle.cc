#include <algorithm>
#include <limits>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "catalogue/pending_edit.h"
#include "catalogue/pending_set.h"
#include "model/failure.h"

namespace fanmirror::catalogue {
namespace {

using Entry = PendingSet::Entry;
using Retry = PendingSet::Retry;

void Succeed(StoredEntry* entry) {
  entry->attempts = 0;
  entry->path.clear();
  entry->error.clear();
}

// `taken` is proved, and the entry stays for what came after it. An earlier taking does not know the first
// change after itself any more: the number after its last one stands for it, which is never too late for a
// barrier.
void Advance(PendingEdit* edit, const Entry& taken, StoredEntry* entry) {
  const bool newest = entry->taken_last == taken.last_sequence;
  if (newest && entry->since != 0) {
    entry->first = entry->since;
  } else if (entry->last > taken.last_sequence) {
    entry->first = taken.last_sequence + 1;
  } else {
    entry->first = entry->last = edit->NextSequence();
  }
  entry->first_ns = std::max(entry->first_ns, taken.taken_ns);
  if (newest) entry->taken_last = entry->since = 0;
  if (entry->taken_last == 0 && !entry->waits) {
    entry->waits = true;
    entry->due_ns = taken.taken_ns;
  }
}

// `retry` is the one for the same place in the same call, or null; if there are several, one that stands for older changes.
absl::Status Prove(PendingEdit* edit, const Entry& taken, const Retry* retry) {
  const std::string place = PlaceKey(taken.change);
  const auto before = edit->Load(place);
  if (!before.ok()) return before.status();
  // Nothing there, or only what came after: a later taking was proved first.
  if (!before->has_value() || (*before)->first > taken.last_sequence) return absl::OkStatus();
  if (retry == nullptr && (*before)->last <= taken.last_sequence) return edit->Remove(place, **before);
  StoredEntry entry = **before;
  if (entry.retried > taken.last_sequence) return absl::OkStatus();
  entry.retried = 0;
  if (retry == nullptr || !retry->failed) Succeed(&entry);
  const bool stands = retry != nullptr && (retry->first_sequence != 0 || retry->first_ns <= taken.first_ns);
  if (!stands) Advance(edit, taken, &entry);
  return edit->Save(place, *before, entry);
}

// When an entry that may wait for a fresh change is due after a retry was asked for: not before the retry,
// but a change that came since cuts the wait to kFreshRetryNs.
void Reschedule(const Retry& retry, StoredEntry* entry) {
  std::int64_t not_before = retry.due_ns;
  std::int64_t due = retry.due_ns;
  if (entry->waits) {
    const std::int64_t fresh_ns = entry->since != 0 ? entry->since_ns : entry->last_ns;
    not_before = std::min(not_before, fresh_ns + PendingSet::kFreshRetryNs);
    due = std::min(due, entry->due_ns);
  }
  entry->not_before_ns = std::max(entry->not_before_ns, not_before);
  entry->due_ns = std::max(due, entry->not_before_ns);
  entry->waits = true;
}

// `first` is the oldest number that the retry stands for, 0 when it counts as new.
absl::Status Merge(PendingEdit* edit, const Retry& retry, std::uint64_t first) {
  const std::string place = PlaceKey(retry.change);
  if (place.empty()) {
    return model::Failure(
        model::Reaction::kHaltJob,
        "pending set: a retry that names no place; this is a fault of fanmirror, report it");
  }
  const auto before = edit->Load(place);
  if (!before.ok()) return before.status();
  StoredEntry entry;
  const std::uint64_t sequence = edit->NextSequence();
  if (before->has_value()) {
    entry = **before;
    if (first != 0) entry.first = std::min(entry.first, first);
    if (retry.first_ns != 0) entry.first_ns = std::min(entry.first_ns, retry.first_ns);
  } else {
    entry.first = first != 0 ? std::min(first, sequence) : sequence;
    entry.first_ns = entry.last_ns = retry.first_ns;
    entry.not_before_ns = std::numeric_limits<std::int64_t>::min();
  }
  entry.last = sequence;
  if (first != 0) entry.retried = sequence;
  entry.content |= retry.change.content;
  entry.startup |= retry.change.startup;
  Reschedule(retry, &entry);
  entry.taken_last = entry.since = 0;
  if (retry.failed) {
    ++entry.attempts;
    entry.path = retry.path;
    entry.error = retry.error;
  }
  return edit->Save(place, *before, entry);
}

// For each time the oldest number among the proved entries that are not older.
class OldestProved {
 public:
  explicit OldestProved(absl::Span<const Entry> proved) {
    for (const Entry& entry : proved) by_time_.emplace_back(entry.first_ns, entry.first_sequence);
    std::sort(by_time_.begin(), by_time_.end());
    for (std::size_t i = by_time_.size(); i > 1; --i) {
      by_time_[i - 2].second = std::min(by_time_[i - 2].second, by_time_[i - 1].second);
    }
  }
  std::uint64_t From(std::int64_t first_ns) const {
    const auto it = std::lower_bound(by_time_.begin(), by_time_.end(), std::pair(first_ns, std::uint64_t{0}));
    return it == by_time_.end() ? 0 : it->second;
  }

 private:
  std::vector<std::pair<std::int64_t, std::uint64_t>> by_time_;
};

}  // namespace

absl::Status PendingSet::Settle(absl::Span<const Entry> proved, absl::Span<const Retry> retries) {
  const std::lock_guard lock(store_->mutex);
  auto edit = PendingEdit::Begin(store_.get());
  if (!edit.ok()) return edit.status();
  struct Both {
    const Retry* retry = nullptr;
    bool proved = false;
  };
  absl::flat_hash_map<std::string, Both> places;
  for (const Retry& retry : retries) {
    const Retry*& chosen = places[PlaceKey(retry.change)].retry;
    if (chosen == nullptr || chosen->first_sequence == 0) chosen = &retry;
  }
  for (const Entry& entry : proved) {
    const auto it = places.find(PlaceKey(entry.change));
    if (it != places.end()) it->second.proved = true;
    const Retry* retry = it != places.end() ? it->second.retry : nullptr;
    if (absl::Status status = Prove(&*edit, entry, retry); !status.ok()) return status;
  }
  const OldestProved oldest(proved);
  for (const Retry& retry : retries) {
    std::uint64_t first = retry.first_sequence;
    if (first == 0 && !places[PlaceKey(retry.change)].proved) first = oldest.From(retry.first_ns);
    if (absl::Status status = Merge(&*edit, retry, first); !status.ok()) return status;
  }
  return edit->Commit();
}

}  // namespace fanmirror::catalogue
