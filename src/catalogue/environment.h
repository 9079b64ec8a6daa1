#pragma once

#include <lmdb.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "catalogue/seal.h"

namespace fanmirror::catalogue {

// Address space, not memory and not disk, that a store may grow to: some 300 million files. LMDB needs it up
// front.
constexpr std::size_t kMapBytes = std::size_t{64} << 30;

// An LMDB environment in a directory of its own. Not to be opened twice at once in one process.
class Environment {
 public:
  enum class Durability {
    kSync,    // a commit is on the disk
    kNoSync,  // a commit survives the process, not the host
  };
  // `what` names the store in messages ("catalogue"), `cure` is what a person can do when it is damaged.
  // `dir` is made (0700) when missing. What was not closed in order is read through first (see seal.h), which takes as long
  // as reading the file.
  static absl::StatusOr<std::unique_ptr<Environment>> Open(const std::string& dir, std::string_view what,
                                                           std::string_view cure, unsigned int tables,
                                                           Durability durability);
  ~Environment();
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

  MDB_env* get() const { return env_; }
  // The status for LMDB's result `rc` (not MDB_SUCCESS) of `call`. All but a shortage leaves the store in doubt: it will be
  // found damaged when it is opened next.
  absl::Status Error(std::string_view call, int rc) const;
  // The status for something stored that does not parse.
  absl::Status Damaged(std::string_view where) const;
  // The status for a format newer than this program's.
  absl::Status Newer(unsigned int found, unsigned int known) const;

 private:
  Environment(const std::string& dir, std::string_view what, std::string_view cure)
      : dir_(dir), what_(what), cure_(cure) {}
  const std::string dir_;
  const std::string what_;
  const std::string cure_;
  friend class Transaction;
  absl::Status CheckBefore() const;
  // What the data looks like after a write of ours. Another look at the end: somebody else wrote, and it is not sealed.
  void NoteWritten() const { written_ = DescribeData(dir_); }
  MDB_env* env_ = nullptr;
  mutable std::atomic<bool> doubt_{false};
  mutable std::string written_;  // by the one writer at a time
};

// Whether the store itself is damaged or in doubt, and not the disk, our privileges or our version in the way.
bool IsDamage(const absl::Status& status);
// Renames the store's directory to `dir`.damaged, for a look at it; what was there before goes. It is not open.
absl::Status SetStoreAside(const std::string& dir);

// Makes `dir` (0700) and its parents when they are missing.
absl::Status MakeStoreDir(const std::string& dir);

struct CursorCloser {
  void operator()(MDB_cursor* cursor) const { mdb_cursor_close(cursor); }
};
// To be closed before its transaction ends.
using Cursor = std::unique_ptr<MDB_cursor, CursorCloser>;

// One transaction. Bytes that it hands out live until its next write or its end. Ended by Commit; the
// destructor abandons.
class Transaction {
 public:
  static absl::StatusOr<Transaction> Write(const Environment& env) { return Begin(env, 0); }
  static absl::StatusOr<Transaction> Read(const Environment& env) { return Begin(env, MDB_RDONLY); }
  Transaction(Transaction&& other) noexcept : env_(other.env_), txn_(std::exchange(other.txn_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();

  absl::Status OpenTable(const char* name, MDB_dbi* table) const;  // made when missing; writers only
  absl::StatusOr<std::optional<std::string_view>> Get(MDB_dbi table, std::string_view key) const;
  absl::Status Put(MDB_dbi table, std::string_view key, std::string_view value, unsigned int flags = 0) const;
  absl::Status Delete(MDB_dbi table, std::string_view key) const;  // OK when it is not there
  absl::Status Empty(MDB_dbi table) const;
  absl::StatusOr<std::uint64_t> Count(MDB_dbi table) const;
  absl::StatusOr<Cursor> OpenCursor(MDB_dbi table) const;
  // The first key at or after `key`; nullopt when there is none.
  absl::StatusOr<std::optional<std::string_view>> FirstKeyFrom(MDB_dbi table, std::string_view key) const;

  absl::Status Commit();
  // A reader goes to the newest commit, without giving up its slot.
  absl::Status Renew() const;

  MDB_txn* get() const { return txn_; }

 private:
  Transaction(const Environment* env, MDB_txn* txn) : env_(env), txn_(txn) {}
  static absl::StatusOr<Transaction> Begin(const Environment& env, unsigned int flags);
  const Environment* env_;
  MDB_txn* txn_;
};

inline MDB_val ToVal(std::string_view bytes) { return {bytes.size(), const_cast<char*>(bytes.data())}; }
inline std::string_view FromVal(const MDB_val& val) {
  return {static_cast<const char*>(val.mv_data), val.mv_size};
}

}  // namespace fanmirror::catalogue
