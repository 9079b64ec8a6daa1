#include "catalogue/pending_edit.h"

#include <utility>

#include "catalogue/codec.h"

namespace fanmirror::catalogue {
namespace {

constexpr std::string_view kFormatKey = "format";
constexpr std::string_view kSequenceKey = "sequence";
constexpr unsigned int kTables = 7;
constexpr std::string_view kCure =
    "restart the daemon after removing this directory, then the source is scanned";

std::optional<std::string> DueRow(std::string_view place, const StoredEntry& entry) {
  if (!entry.waits) return std::nullopt;
  return IndexKey(OrderedBits(entry.due_ns), place);
}

std::optional<std::string> PlaceRow(std::string_view place, bool present) {
  if (!present) return std::nullopt;
  return std::string(place);
}

}  // namespace

absl::StatusOr<std::unique_ptr<PendingStore>> PendingStore::Open(const std::string& dir,
                                                                 PendingSet::Timing timing) {
  auto env = Environment::Open(dir, "pending set", kCure, kTables, Environment::Durability::kNoSync);
  if (!env.ok()) return env.status();
  auto store = std::make_unique<PendingStore>();
  store->env = *std::move(env);
  store->timing = timing;
  auto txn = Transaction::Write(*store->env);
  if (!txn.ok()) return txn.status();
  if (absl::Status status = store->OpenTables(*txn); !status.ok()) return status;
  if (absl::Status status = txn->Commit(); !status.ok()) return status;
  if (absl::Status status = store->ReleaseTaken(); !status.ok()) return status;
  return store;
}

absl::Status PendingStore::OpenTables(const Transaction& txn) {
  const std::pair<const char*, MDB_dbi*> all[] = {{"meta", &tables.meta},      {"entries", &tables.entries},
                                                  {"due", &tables.due},        {"oldest", &tables.oldest},
                                                  {"taken", &tables.taken},    {"failing", &tables.failing},
                                                  {"journal", &tables.journal}};
  for (const auto& [name, table] : all) {
    if (absl::Status status = txn.OpenTable(name, table); !status.ok()) return status;
  }
  const auto format = txn.Get(tables.meta, kFormatKey);
  if (!format.ok()) return format.status();
  if (!format->has_value()) {
    std::string version;
    AppendLittle(kPendingFormat, &version);
    return txn.Put(tables.meta, kFormatKey, version);
  }
  Parser in(**format);
  const auto version = in.Little<std::uint32_t>();
  if (version > kPendingFormat) return env->Newer(version, kPendingFormat);
  if (!in.ok() || version != kPendingFormat) return env->Damaged("its format");
  const auto last = txn.Get(tables.meta, kSequenceKey);
  if (!last.ok()) return last.status();
  if (!last->has_value()) return absl::OkStatus();
  Parser number(**last);
  sequence = number.Little<std::uint64_t>();
  return number.ok() ? absl::OkStatus() : env->Damaged("its sequence");
}

absl::Status PendingStore::ReleaseTaken() {
  auto edit = PendingEdit::Begin(this);
  if (!edit.ok()) return edit.status();
  while (true) {
    const auto first = edit->transaction().FirstKeyFrom(tables.taken, "");
    if (!first.ok()) return first.status();
    if (!first->has_value()) return edit->Commit();
    const std::string place(**first);
    const auto before = edit->Load(place);
    if (!before.ok()) return before.status();
    if (!before->has_value() || (*before)->taken_last == 0) return env->Damaged("its table of taken entries");
    StoredEntry entry = **before;
    entry.due_ns = entry.waits ? std::min(entry.due_ns, entry.taken_ns) : entry.taken_ns;
    entry.waits = true;
    entry.taken_last = entry.since = 0;
    if (absl::Status status = edit->Save(place, *before, entry); !status.ok()) return status;
  }
}

absl::StatusOr<std::optional<std::uint64_t>> PendingStore::FirstNumber(MDB_dbi table) const {
  const auto txn = Transaction::Read(*env);
  if (!txn.ok()) return txn.status();
  const auto key = txn->FirstKeyFrom(table, "");
  if (!key.ok()) return key.status();
  if (!key->has_value()) return std::nullopt;
  const auto number = DecodeIndexNumber(**key);
  if (!number) return env->Damaged("an index");
  return number;
}

std::uint64_t PendingStore::Count(MDB_dbi table) const {
  const std::lock_guard lock(mutex);
  const auto txn = Transaction::Read(*env);
  return txn.ok() ? txn->Count(table).value_or(0) : 0;
}

absl::StatusOr<PendingEdit> PendingEdit::Begin(PendingStore* store) {
  auto txn = Transaction::Write(*store->env);
  if (!txn.ok()) return txn.status();
  return PendingEdit(store, *std::move(txn));
}

absl::Status PendingEdit::Commit() {
  if (sequence_ != store_->sequence) {
    std::string value;
    AppendLittle(sequence_, &value);
    if (absl::Status status = txn_.Put(store_->tables.meta, kSequenceKey, value); !status.ok()) return status;
  }
  absl::Status status = txn_.Commit();
  if (status.ok()) store_->sequence = sequence_;
  return status;
}

absl::StatusOr<bool> PendingEdit::InsertIfNew(std::string_view place, StoredEntry* entry) {
  const PendingTables& tables = store_->tables;
  const std::string bytes = EncodeEntry(*entry);
  MDB_val key = ToVal(place);
  MDB_val value = ToVal(bytes);
  const int rc = mdb_put(txn_.get(), tables.entries, &key, &value, MDB_NOOVERWRITE);
  if (rc == MDB_KEYEXIST) {
    auto there = DecodeEntry(FromVal(value));
    if (!there) return store_->env->Damaged("a change");
    *entry = *std::move(there);
    return false;
  }
  if (rc != 0) return store_->env->Error("put", rc);
  // A number just given is above all others, so its row is the last one.
  absl::Status status = txn_.Put(tables.oldest, IndexKey(entry->first, place), "", MDB_APPEND);
  if (status.ok()) status = txn_.Put(tables.due, *DueRow(place, *entry), "");
  if (!status.ok()) return status;
  return true;
}

absl::StatusOr<std::optional<StoredEntry>> PendingEdit::Load(std::string_view place) const {
  const auto bytes = txn_.Get(store_->tables.entries, place);
  if (!bytes.ok()) return bytes.status();
  if (!bytes->has_value()) return std::nullopt;
  auto entry = DecodeEntry(**bytes);
  if (!entry) return store_->env->Damaged("a change");
  return entry;
}

absl::Status PendingEdit::Reindex(MDB_dbi table, const std::optional<std::string>& before,
                                  const std::optional<std::string>& after) {
  if (before == after) return absl::OkStatus();
  absl::Status status;
  if (before) status = txn_.Delete(table, *before);
  if (status.ok() && after) status = txn_.Put(table, *after, "");
  return status;
}

absl::Status PendingEdit::Save(std::string_view place, const std::optional<StoredEntry>& before,
                               const StoredEntry& after) {
  const PendingTables& tables = store_->tables;
  const auto was = [&](auto row) { return before ? row(*before) : std::nullopt; };
  absl::Status status = txn_.Put(tables.entries, place, EncodeEntry(after));
  if (status.ok()) {
    const auto row = [&](const StoredEntry& entry) { return DueRow(place, entry); };
    status = Reindex(tables.due, was(row), row(after));
  }
  if (status.ok() && (!before || before->first != after.first)) {
    const auto row = [&](const StoredEntry& entry) { return std::optional(IndexKey(entry.first, place)); };
    status = Reindex(tables.oldest, was(row), row(after));
  }
  if (status.ok()) {
    const auto row = [&](const StoredEntry& entry) { return PlaceRow(place, entry.taken_last != 0); };
    status = Reindex(tables.taken, was(row), row(after));
  }
  if (status.ok()) {
    const auto row = [&](const StoredEntry& entry) { return PlaceRow(place, entry.attempts != 0); };
    status = Reindex(tables.failing, was(row), row(after));
  }
  return status;
}

absl::Status PendingEdit::Remove(std::string_view place, const StoredEntry& entry) {
  const PendingTables& tables = store_->tables;
  absl::Status status = txn_.Delete(tables.entries, place);
  if (status.ok()) status = Reindex(tables.due, DueRow(place, entry), std::nullopt);
  if (status.ok()) status = txn_.Delete(tables.oldest, IndexKey(entry.first, place));
  if (status.ok() && entry.taken_last != 0) status = txn_.Delete(tables.taken, place);
  if (status.ok() && entry.attempts != 0) status = txn_.Delete(tables.failing, place);
  return status;
}

}  // namespace fanmirror::catalogue
