#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "catalogue/environment.h"
#include "catalogue/pending_format.h"
#include "catalogue/pending_set.h"

namespace fanmirror::catalogue {

struct PendingTables {
  MDB_dbi meta = 0;
  MDB_dbi entries = 0;
  MDB_dbi due = 0;
  MDB_dbi oldest = 0;
  MDB_dbi taken = 0;
  MDB_dbi failing = 0;
  MDB_dbi journal = 0;
};

struct PendingStore {
  // Held by every public function from its begin to its end. Not absl's: the thread sanitizer cannot see that
  // one in a library built without it.
  mutable std::mutex mutex;
  std::unique_ptr<Environment> env;
  PendingTables tables;
  PendingSet::Timing timing;
  std::uint64_t sequence = 0;  // as the last commit has it

  // Opens what is in `dir`, or makes it.
  static absl::StatusOr<std::unique_ptr<PendingStore>> Open(const std::string& dir,
                                                            PendingSet::Timing timing);
  absl::Status OpenTables(const Transaction& txn);
  absl::Status ReleaseTaken();

  // The number at the front of the first key of `table`; nullopt when it is empty.
  absl::StatusOr<std::optional<std::uint64_t>> FirstNumber(MDB_dbi table) const;
  // Rows of `table`, 0 when it cannot be read. Takes the mutex.
  std::uint64_t Count(MDB_dbi table) const;
};

// One write transaction on the pending set, in terms of entries. Keeps the rows of all tables in step with
// each entry.
class PendingEdit {
 public:
  static absl::StatusOr<PendingEdit> Begin(PendingStore* store);
  absl::Status Commit();  // without it everything is abandoned, the numbers given included

  std::uint64_t NextSequence() { return ++sequence_; }
  const Transaction& transaction() const { return txn_; }

  // False, and the entry as it is in `entry`, when there is one at `place` already.
  absl::StatusOr<bool> InsertIfNew(std::string_view place, StoredEntry* entry);
  // nullopt when there is none.
  absl::StatusOr<std::optional<StoredEntry>> Load(std::string_view place) const;
  // `before` is what Load gave, nullopt for a new entry.
  absl::Status Save(std::string_view place, const std::optional<StoredEntry>& before,
                    const StoredEntry& after);
  absl::Status Remove(std::string_view place, const StoredEntry& entry);

 private:
  PendingEdit(PendingStore* store, Transaction txn)
      : store_(store), txn_(std::move(txn)), sequence_(store->sequence) {}
  // The row `key` of an index goes, comes or stays as the entry changes.
  absl::Status Reindex(MDB_dbi table, const std::optional<std::string>& before,
                       const std::optional<std::string>& after);
  PendingStore* store_;
  Transaction txn_;
  std::uint64_t sequence_;
};

}  // namespace fanmirror::catalogue
