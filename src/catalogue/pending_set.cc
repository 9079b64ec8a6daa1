#include "catalogue/pending_set.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <limits>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "catalogue/codec.h"
#include "catalogue/pending_edit.h"
#include "model/failure.h"

namespace fanmirror::catalogue {
namespace {

constexpr std::int64_t kNoBackOff = std::numeric_limits<std::int64_t>::min();

// The boot in which the set in `dir` was written; "" when nobody knows.
std::string ReadBootId(const std::string& dir) {
  std::ifstream in(absl::StrCat(dir, "/boot_id"));
  std::string boot_id;
  std::getline(in, boot_id);
  return boot_id;
}

absl::Status RemoveFile(const std::string& path) {
  if (unlink(path.c_str()) == 0 || errno == ENOENT) return absl::OkStatus();
  return model::SystemFailure(model::Reaction::kHaltJob, "unlink", path, errno);
}

// The old set goes before the new boot id comes: whenever this is cut short, it is done again.
absl::Status StartEmpty(const std::string& dir, const std::string& boot_id) {
  if (absl::Status status = MakeStoreDir(dir); !status.ok()) return status;
  for (const char* file : {"boot_id", "data.mdb", "lock.mdb", "seal"}) {
    if (absl::Status status = RemoveFile(absl::StrCat(dir, "/", file)); !status.ok()) return status;
  }
  const std::string path = absl::StrCat(dir, "/boot_id");
  std::ofstream out(path);
  out << boot_id << '\n' << std::flush;
  if (out.good()) return absl::OkStatus();
  return model::SystemFailure(model::Reaction::kRetry, "write", path, errno, "make room there");
}

PendingSet::Entry ToEntry(model::Change change, const StoredEntry& stored) {
  PendingSet::Entry entry;
  entry.change = std::move(change);
  entry.change.content = stored.content;
  entry.change.startup = stored.startup;
  entry.first_sequence = stored.first;
  entry.last_sequence = stored.last;
  entry.first_ns = stored.first_ns;
  entry.last_ns = stored.last_ns;
  entry.due_ns = stored.due_ns;
  entry.attempts = static_cast<int>(stored.attempts);
  entry.path = stored.path;
  entry.error = stored.error;
  entry.taken_ns = stored.taken_ns;
  return entry;
}

absl::Status NoPlace(const model::Change& change) {
  return model::Failure(
      model::Reaction::kHaltJob,
      absl::StrCat("pending set: a change of ", change.id.ToString(), " ", model::QuotePath(change.name),
                   " names no place; this is a fault of fanmirror, report it"));
}

// When an entry is due that changes at `now` and has changed since `first`.
std::int64_t DueAfterChange(const PendingSet::Timing& timing, std::int64_t first_ns, std::int64_t now_ns) {
  return std::min(now_ns + timing.settle_ns, first_ns + timing.max_delay_ns);
}

absl::Status NoteOne(PendingEdit* edit, const PendingSet::Timing& timing, const model::Change& change,
                     std::int64_t now_ns) {
  const std::string place = PlaceKey(change);
  if (place.empty()) return NoPlace(change);
  StoredEntry entry;
  entry.content = change.content;
  entry.startup = change.startup;
  entry.waits = true;
  entry.first = entry.last = edit->NextSequence();
  entry.first_ns = entry.last_ns = now_ns;
  entry.due_ns = DueAfterChange(timing, now_ns, now_ns);
  entry.not_before_ns = kNoBackOff;
  const std::uint64_t sequence = entry.last;
  const auto inserted = edit->InsertIfNew(place, &entry);
  if (!inserted.ok()) return inserted.status();
  if (*inserted) return absl::OkStatus();

  const StoredEntry before = entry;
  entry.content |= change.content;
  entry.startup |= change.startup;
  entry.last = sequence;
  entry.last_ns = now_ns;
  if (entry.taken_last != 0 && entry.since == 0) {
    entry.since = sequence;
    entry.since_ns = now_ns;
  }
  entry.not_before_ns = std::min(entry.not_before_ns, now_ns + PendingSet::kFreshRetryNs);
  const std::int64_t first_ns = entry.taken_last != 0 ? entry.since_ns : entry.first_ns;
  entry.due_ns = std::max(DueAfterChange(timing, first_ns, now_ns), entry.not_before_ns);
  entry.waits = true;
  return edit->Save(place, before, entry);
}

absl::StatusOr<PendingSet::Entry> TakeOne(PendingEdit* edit, const std::string& place, std::int64_t now_ns) {
  const auto before = edit->Load(place);
  if (!before.ok()) return before.status();
  auto change = DecodePlace(place);
  if (!before->has_value() || !change) {
    return model::Failure(
        model::Reaction::kHaltJob,
        "pending set: the index of what is due names a change that is not there; restart the daemon "
        "after removing the job's directory 'pending', then the source is scanned");
  }
  StoredEntry entry = **before;
  entry.waits = false;
  entry.not_before_ns = kNoBackOff;
  entry.taken_last = entry.last;
  entry.taken_ns = now_ns;
  entry.since = 0;
  if (absl::Status status = edit->Save(place, *before, entry); !status.ok()) return status;
  return ToEntry(*std::move(change), entry);
}

absl::Status ReleaseOne(PendingEdit* edit, const PendingSet::Entry& taken) {
  const std::string place = PlaceKey(taken.change);
  const auto before = edit->Load(place);
  if (!before.ok()) return before.status();
  // Another taking of the place, or a retry, has the say over it now.
  if (!before->has_value() || (*before)->taken_last != taken.last_sequence) return absl::OkStatus();
  StoredEntry entry = **before;
  entry.due_ns = entry.waits ? std::min(entry.due_ns, taken.taken_ns) : taken.taken_ns;
  entry.waits = true;
  entry.taken_last = entry.since = 0;
  return edit->Save(place, *before, entry);
}

}  // namespace

PendingSet::PendingSet() = default;
PendingSet::~PendingSet() = default;

absl::StatusOr<std::unique_ptr<PendingSet>> PendingSet::Open(const std::string& dir,
                                                             const std::string& boot_id, Timing timing) {
  auto set = std::unique_ptr<PendingSet>(new PendingSet());
  if (!boot_id.empty() && ReadBootId(dir) == boot_id) {
    auto store = PendingStore::Open(dir, timing);
    if (store.ok()) {
      set->store_ = *std::move(store);
      return set;
    }
    if (model::ReactionOf(store.status()) == model::Reaction::kRetry) return store.status();
  }
  if (absl::Status status = StartEmpty(dir, boot_id); !status.ok()) return status;
  auto store = PendingStore::Open(dir, timing);
  if (!store.ok()) return store.status();
  set->store_ = *std::move(store);
  return set;
}

absl::Status PendingSet::Discard(const std::string& dir) { return RemoveFile(absl::StrCat(dir, "/boot_id")); }

absl::Status PendingSet::Note(absl::Span<const model::Change> changes, std::int64_t now_ns) {
  const std::lock_guard lock(store_->mutex);
  auto edit = PendingEdit::Begin(store_.get());
  if (!edit.ok()) return edit.status();
  for (const model::Change& change : changes) {
    if (absl::Status status = NoteOne(&*edit, store_->timing, change, now_ns); !status.ok()) return status;
  }
  return edit->Commit();
}

absl::Status PendingSet::NoteScan(const model::Change& all, std::int64_t now_ns,
                                  const Completeness& completeness) {
  const std::lock_guard lock(store_->mutex);
  auto edit = PendingEdit::Begin(store_.get());
  if (!edit.ok()) return edit.status();
  if (absl::Status status = NoteOne(&*edit, store_->timing, all, now_ns); !status.ok()) return status;
  const std::string row = EncodeCompleteness(completeness);
  if (absl::Status status = edit->transaction().Put(store_->tables.meta, kCompletenessKey, row); !status.ok()) {
    return status;
  }
  return edit->Commit();
}

std::optional<PendingSet::Completeness> PendingSet::completeness() const {
  const std::lock_guard lock(store_->mutex);
  const auto txn = Transaction::Read(*store_->env);
  if (!txn.ok()) return std::nullopt;
  const auto row = txn->Get(store_->tables.meta, kCompletenessKey);
  if (!row.ok() || !row->has_value()) return std::nullopt;
  return DecodeCompleteness(**row);
}

absl::StatusOr<std::vector<PendingSet::Entry>> PendingSet::TakeDue(std::int64_t now_ns, std::size_t max) {
  const std::lock_guard lock(store_->mutex);
  std::vector<Entry> taken;
  auto edit = PendingEdit::Begin(store_.get());
  if (!edit.ok()) return edit.status();
  while (taken.size() < max) {
    const auto first = edit->transaction().FirstKeyFrom(store_->tables.due, "");
    if (!first.ok()) return first.status();
    if (!first->has_value()) break;
    const auto due = DecodeIndexNumber(**first);
    if (!due) return store_->env->Damaged("its index of what is due");
    if (*due > OrderedBits(now_ns)) break;
    auto entry = TakeOne(&*edit, std::string(PlaceOfIndexKey(**first)), now_ns);
    if (!entry.ok()) return entry.status();
    taken.push_back(*std::move(entry));
  }
  if (taken.empty()) return taken;
  if (absl::Status status = edit->Commit(); !status.ok()) return status;
  return taken;
}

absl::Status PendingSet::Release(absl::Span<const Entry> taken) {
  const std::lock_guard lock(store_->mutex);
  auto edit = PendingEdit::Begin(store_.get());
  if (!edit.ok()) return edit.status();
  for (const Entry& entry : taken) {
    if (absl::Status status = ReleaseOne(&*edit, entry); !status.ok()) return status;
  }
  return edit->Commit();
}

std::optional<std::int64_t> PendingSet::NextDue() const {
  const std::lock_guard lock(store_->mutex);
  const auto first = store_->FirstNumber(store_->tables.due);
  if (!first.ok()) return 0;
  if (!first->has_value()) return std::nullopt;
  return FromOrderedBits(**first);
}

std::uint64_t PendingSet::LastSequence() const {
  const std::lock_guard lock(store_->mutex);
  return store_->sequence;
}

std::optional<std::uint64_t> PendingSet::OldestSequence() const {
  const std::lock_guard lock(store_->mutex);
  const auto first = store_->FirstNumber(store_->tables.oldest);
  return first.ok() ? *first : 0;
}

std::optional<std::int64_t> PendingSet::OldestNs() const {
  const std::lock_guard lock(store_->mutex);
  const auto txn = Transaction::Read(*store_->env);
  if (!txn.ok()) return 0;
  const auto key = txn->FirstKeyFrom(store_->tables.oldest, "");
  if (!key.ok()) return 0;
  if (!key->has_value()) return std::nullopt;
  const auto bytes = txn->Get(store_->tables.entries, PlaceOfIndexKey(**key));
  const auto entry = DecodeEntry(bytes.ok() ? bytes->value_or("") : "");
  return entry ? entry->first_ns : 0;
}

std::uint64_t PendingSet::Size() const { return store_->Count(store_->tables.entries); }

std::uint64_t PendingSet::FailingSize() const { return store_->Count(store_->tables.failing); }

absl::StatusOr<std::vector<PendingSet::Entry>> PendingSet::List(const model::Change* after, std::size_t max) const {
  const std::lock_guard lock(store_->mutex);
  std::vector<Entry> list;
  const auto txn = Transaction::Read(*store_->env);
  if (!txn.ok()) return txn.status();
  const auto cursor = txn->OpenCursor(store_->tables.entries);
  if (!cursor.ok()) return cursor.status();
  const std::string last = after != nullptr ? PlaceKey(*after) : "";
  MDB_val key = ToVal(last);
  MDB_val value;
  int rc = mdb_cursor_get(cursor->get(), &key, &value, after != nullptr ? MDB_SET_RANGE : MDB_FIRST);
  for (; rc == 0 && list.size() < max; rc = mdb_cursor_get(cursor->get(), &key, &value, MDB_NEXT)) {
    if (FromVal(key) == last) continue;
    auto change = DecodePlace(FromVal(key));
    const auto entry = DecodeEntry(FromVal(value));
    if (!change || !entry) return store_->env->Damaged("a change");
    if (entry->taken_last == 0) list.push_back(ToEntry(*std::move(change), *entry));
  }
  if (rc != 0 && rc != MDB_NOTFOUND) return store_->env->Error("cursor_get", rc);
  return list;
}

absl::StatusOr<std::optional<PendingSet::Entry>> PendingSet::Find(const model::Change& change) const {
  const std::lock_guard lock(store_->mutex);
  const auto txn = Transaction::Read(*store_->env);
  if (!txn.ok()) return txn.status();
  const auto bytes = txn->Get(store_->tables.entries, PlaceKey(change));
  if (!bytes.ok()) return bytes.status();
  if (!bytes->has_value()) return std::nullopt;
  const auto entry = DecodeEntry(**bytes);
  if (!entry) return store_->env->Damaged("a change");
  return ToEntry(change, *entry);
}

bool PendingSet::OnlyFailing(std::uint64_t sequence) const {
  const std::lock_guard lock(store_->mutex);
  const auto txn = Transaction::Read(*store_->env);
  if (!txn.ok()) return false;
  const auto cursor = txn->OpenCursor(store_->tables.oldest);
  if (!cursor.ok()) return false;
  MDB_val key;
  MDB_val value;
  int rc = mdb_cursor_get(cursor->get(), &key, &value, MDB_FIRST);
  for (; rc == 0; rc = mdb_cursor_get(cursor->get(), &key, &value, MDB_NEXT)) {
    const auto first = DecodeIndexNumber(FromVal(key));
    if (first && *first > sequence) return true;
    const auto bytes = txn->Get(store_->tables.entries, PlaceOfIndexKey(FromVal(key)));
    const auto entry = DecodeEntry(bytes.ok() ? bytes->value_or("") : "");
    if (!first || !entry || entry->attempts == 0) return false;
  }
  return rc == MDB_NOTFOUND;
}

std::vector<PendingSet::Entry> PendingSet::Failing(std::size_t max) const {
  const std::lock_guard lock(store_->mutex);
  std::vector<Entry> failing;
  const auto txn = Transaction::Read(*store_->env);
  if (!txn.ok()) return failing;
  const auto cursor = txn->OpenCursor(store_->tables.failing);
  if (!cursor.ok()) return failing;
  MDB_val key;
  MDB_val value;
  int rc = mdb_cursor_get(cursor->get(), &key, &value, MDB_FIRST);
  for (; rc == 0 && failing.size() < max; rc = mdb_cursor_get(cursor->get(), &key, &value, MDB_NEXT)) {
    auto change = DecodePlace(FromVal(key));
    const auto bytes = txn->Get(store_->tables.entries, FromVal(key));
    const auto entry = DecodeEntry(bytes.ok() ? bytes->value_or("") : "");
    if (change && entry) failing.push_back(ToEntry(*std::move(change), *entry));
  }
  return failing;
}

}  // namespace fanmirror::catalogue
