#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "catalogue/pending_edit.h"
#include "catalogue/pending_set.h"

namespace fanmirror::catalogue {
namespace {

// Bytes of a row of the journal: LMDB needs contiguous pages for one, which a large file soon has no more.
constexpr std::size_t kPartBytes = 32 << 10;

// Removes the rows of batches first..last.
absl::Status Erase(const Transaction& txn, MDB_dbi journal, std::uint64_t first, std::uint64_t last,
                   const Environment& env) {
  while (true) {
    const auto found = txn.FirstKeyFrom(journal, JournalKey(first, 0));
    if (!found.ok()) return found.status();
    if (!found->has_value()) return absl::OkStatus();
    const auto key = DecodeJournalKey(**found);
    if (!key) return env.Damaged("its journal");
    if (key->batch > last) return absl::OkStatus();
    if (absl::Status status = txn.Delete(journal, std::string(**found)); !status.ok()) return status;
  }
}

}  // namespace

absl::Status PendingSet::RecordIntent(std::uint64_t batch, absl::Span<const Touched> touched) {
  const std::lock_guard lock(store_->mutex);
  auto edit = PendingEdit::Begin(store_.get());
  if (!edit.ok()) return edit.status();
  const Transaction& txn = edit->transaction();
  absl::Status status = Erase(txn, store_->tables.journal, batch, batch, *store_->env);
  std::uint32_t part = 0;
  std::string bytes;
  const auto write = [&] {
    status = txn.Put(store_->tables.journal, JournalKey(batch, part++), bytes);
    bytes.clear();
  };
  for (std::size_t i = 0; status.ok() && i < touched.size(); ++i) {
    AppendTouched(touched[i], &bytes);
    if (bytes.size() >= kPartBytes) write();
  }
  // A batch that touches nothing has a row, too: it is known that it touches nothing.
  if (status.ok() && (part == 0 || !bytes.empty())) write();
  return status.ok() ? edit->Commit() : status;
}

absl::StatusOr<std::optional<std::vector<PendingSet::Touched>>> PendingSet::Intents(
    std::uint64_t first, std::uint64_t last) const {
  const std::lock_guard lock(store_->mutex);
  std::vector<Touched> touched;
  if (first > last) return touched;
  const auto txn = Transaction::Read(*store_->env);
  if (!txn.ok()) return txn.status();
  const auto cursor = txn->OpenCursor(store_->tables.journal);
  if (!cursor.ok()) return cursor.status();
  const std::string from = JournalKey(first, 0);
  MDB_val key = ToVal(from);
  MDB_val value;
  std::uint64_t missing = first;  // the smallest batch not seen yet
  int rc = mdb_cursor_get(cursor->get(), &key, &value, MDB_SET_RANGE);
  for (; rc == 0; rc = mdb_cursor_get(cursor->get(), &key, &value, MDB_NEXT)) {
    const auto at = DecodeJournalKey(FromVal(key));
    if (!at) return store_->env->Damaged("its journal");
    if (at->batch > last || (at->batch != missing && at->part == 0)) break;
    if (at->part == 0) ++missing;
    if (!DecodeTouched(FromVal(value), &touched)) return store_->env->Damaged("its journal");
  }
  if (rc != 0 && rc != MDB_NOTFOUND) return store_->env->Error("walk", rc);
  if (missing <= last) return std::nullopt;
  return touched;
}

absl::Status PendingSet::DropIntents(std::uint64_t up_to_batch) {
  const std::lock_guard lock(store_->mutex);
  auto edit = PendingEdit::Begin(store_.get());
  if (!edit.ok()) return edit.status();
  absl::Status status = Erase(edit->transaction(), store_->tables.journal, 0, up_to_batch, *store_->env);
  return status.ok() ? edit->Commit() : status;
}

}  // namespace fanmirror::catalogue
