#include "daemon/watchers.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace fanmirror::daemon {
namespace {

// The device besides: a clone of a filesystem (snapshot, copied image) has the UUID of the original.
std::string KeyOf(const watch::Mount& mount) { return absl::StrCat(mount.filesystem, " ", mount.source); }

void Add(const watch::Watcher::Counters& counters, watch::Watcher::Counters* sum) {
  sum->events += counters.events;
  sum->overflows += counters.overflows;
  sum->filesystem_errors += counters.filesystem_errors;
}

}  // namespace

// One whose mark went with an unmount may still be held by a job that has not noticed.
std::shared_ptr<watch::Watcher> Watchers::FindLocked(const std::string& key) {
  for (Entry& entry : entries_) {
    if (entry.key != key || !entry.watcher->MarkAlive()) continue;
    ++entry.jobs;
    return entry.watcher;
  }
  return nullptr;
}

absl::StatusOr<std::shared_ptr<watch::Watcher>> Watchers::Obtain(const watch::Mount& mount) {
  const std::string key = KeyOf(mount);
  std::unique_lock lock(mutex_);
  opened_.wait(lock, [&] { return !opening_.contains(key); });
  if (auto known = FindLocked(key)) return known;
  opening_.insert(key);
  lock.unlock();
  // Not under the lock: a filesystem that hangs holds up nobody but its jobs.
  auto opened = kept_->Open(mount);
  lock.lock();
  opening_.erase(key);
  opened_.notify_all();
  if (!opened.ok()) return opened.status();
  entries_.push_back({key, *std::move(opened), /*jobs=*/1});
  return entries_.back().watcher;
}

void Watchers::Release(const std::shared_ptr<watch::Watcher>& watcher) {
  std::shared_ptr<watch::Watcher> last;  // its thread is joined without the lock
  std::lock_guard lock(mutex_);
  const auto entry =
      std::find_if(entries_.begin(), entries_.end(), [&](const Entry& one) { return one.watcher == watcher; });
  if (entry == entries_.end() || --entry->jobs > 0) return;
  if (!ended_) kept_->Discard(watcher.get());
  Add(watcher->counters(), &closed_);
  last = std::move(entry->watcher);
  entries_.erase(entry);
}

void Watchers::Start(const std::shared_ptr<watch::Watcher>& watcher) {
  std::lock_guard lock(mutex_);
  for (Entry& entry : entries_) {
    if (entry.watcher != watcher) continue;
    entry.wanted = true;
    StartIfDue(&entry);
  }
}

void Watchers::BeginReading() {
  std::lock_guard lock(mutex_);
  reading_ = true;
  for (Entry& entry : entries_) StartIfDue(&entry);
  kept_->DiscardUnasked();
}

void Watchers::EndReading() {
  std::vector<std::shared_ptr<watch::Watcher>> watchers;
  {
    std::lock_guard lock(mutex_);
    reading_ = false;
    ended_ = true;
    for (const Entry& entry : entries_) watchers.push_back(entry.watcher);
  }
  for (const auto& watcher : watchers) watcher->Stop();
}

void Watchers::StartIfDue(Entry* entry) const {
  if (!reading_ || !entry->wanted || entry->started) return;
  entry->watcher->Start();
  entry->started = true;
}

watch::Watcher::Counters Watchers::counters() const {
  std::lock_guard lock(mutex_);
  watch::Watcher::Counters sum = closed_;
  for (const Entry& entry : entries_) Add(entry.watcher->counters(), &sum);
  return sum;
}

}  // namespace fanmirror::daemon
