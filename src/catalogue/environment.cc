#include "catalogue/environment.h"

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "catalogue/store_check.h"
#include "model/failure.h"

namespace fanmirror::catalogue {
namespace {

using model::Failure;
using model::Reaction;

// What passes by itself when somebody makes room; everything else needs a person.
bool IsShortage(int rc) {
  return rc == ENOSPC || rc == EDQUOT || rc == ENOMEM || rc == EAGAIN || rc == EMFILE || rc == ENFILE;
}

// A filesystem with less room than that is as good as full to a commit.
constexpr std::uint64_t kLeastRoomBytes = std::uint64_t{1} << 20;

// LMDB says EIO, too, when a write is cut short: the last of what fits a filesystem that fills up.
bool WasCutShort(std::string_view call, int rc, const std::string& dir) {
  struct statvfs filesystem {};
  return rc == EIO && call == "commit" && ::statvfs(dir.c_str(), &filesystem) == 0 &&
         filesystem.f_bavail * filesystem.f_frsize < kLeastRoomBytes;
}

constexpr char kDamagePayload[] = "fanmirror/damage";

// LMDB's MDB_PANIC: a sync failed before; EIO: pages cannot be read, or nobody knows what of them was written.
bool IsDamageCode(int rc) {
  return rc == MDB_INVALID || rc == MDB_CORRUPTED || rc == MDB_PAGE_NOTFOUND || rc == MDB_PANIC || rc == EIO;
}

absl::Status AsDamage(absl::Status status) {
  status.SetPayload(kDamagePayload, absl::Cord("1"));
  return status;
}

}  // namespace

bool IsDamage(const absl::Status& status) { return status.GetPayload(kDamagePayload).has_value(); }

absl::Status SetStoreAside(const std::string& dir) {
  const std::string aside = dir + ".damaged";
  std::error_code error;
  std::filesystem::remove_all(aside, error);
  if (!error) std::filesystem::rename(dir, aside, error);
  if (!error) return absl::OkStatus();
  return model::SystemFailure(Reaction::kHaltJob, "rename", dir, error.value(), "remove " + model::QuotePath(dir) + " by hand");
}

absl::Status MakeStoreDir(const std::string& dir) {
  const std::size_t slash = dir.rfind('/');
  if (slash != std::string::npos && slash > 0 && access(dir.substr(0, slash).c_str(), F_OK) != 0) {
    if (absl::Status parent = MakeStoreDir(dir.substr(0, slash)); !parent.ok()) return parent;
  }
  if (mkdir(dir.c_str(), 0700) == 0 || errno == EEXIST) return absl::OkStatus();
  return model::SystemFailure(Reaction::kHaltJob, "mkdir", dir, errno, "make its parent directory writable");
}

absl::StatusOr<std::unique_ptr<Environment>> Environment::Open(const std::string& dir, std::string_view what,
                                                               std::string_view cure, unsigned int tables,
                                                               Durability durability) {
  if (absl::Status made = MakeStoreDir(dir); !made.ok()) return made;
  auto env = std::unique_ptr<Environment>(new Environment(dir, what, cure));
  if (absl::Status sound = env->CheckBefore(); !sound.ok()) return sound;
  if (absl::Status broken = BreakSeal(dir); !broken.ok()) return broken;
  int rc = mdb_env_create(&env->env_);
  if (rc == 0) rc = mdb_env_set_mapsize(env->env_, kMapBytes);
  if (rc == 0) rc = mdb_env_set_maxdbs(env->env_, tables);
  // Readers are tied to their transaction, not to a thread: callers decide which thread reads.
  const unsigned int flags = MDB_NOTLS | (durability == Durability::kNoSync ? MDB_NOSYNC : 0u);
  if (rc == 0) rc = mdb_env_open(env->env_, dir.c_str(), flags, 0600);
  // A killed process leaves its reader behind, which would keep freed pages from being used again.
  int dead = 0;
  if (rc == 0) rc = mdb_reader_check(env->env_, &dead);
  if (rc != 0) return env->Error("open", rc);
  env->NoteWritten();
  return env;
}

Environment::~Environment() {
  if (env_ == nullptr) return;
  mdb_env_close(env_);
  if (doubt_ || DescribeData(dir_) == written_) WriteSeal(dir_, doubt_);
}

absl::Status Environment::CheckBefore() const {
  const Seal seal = ReadSeal(dir_);
  if (seal == Seal::kClosed) return absl::OkStatus();
  const std::string at = absl::StrCat(what_, " ", model::QuotePath(dir_), ": ");
  if (seal == Seal::kDoubt) return AsDamage(Failure(Reaction::kHaltJob, absl::StrCat(at, "a read or a write of it failed")));
  const absl::Status sound = CheckStore(dir_ + "/data.mdb");
  if (sound.ok()) return absl::OkStatus();
  return AsDamage(Failure(Reaction::kHaltJob, absl::StrCat(at, "damaged: ", std::string(sound.message()))));
}

absl::Status Environment::Error(std::string_view call, int rc) const {
  const std::string at = absl::StrCat(what_, " ", model::QuotePath(dir_), ": ", std::string(call), ": ");
  if (rc == MDB_MAP_FULL) {
    return Failure(Reaction::kHaltJob, absl::StrCat(at, "it has reached its limit of ", kMapBytes >> 30,
                                                    " GiB; split the job into smaller sources"));
  }
  if (WasCutShort(call, rc, dir_)) rc = ENOSPC;
  if (IsShortage(rc)) {
    return Failure(Reaction::kRetry, absl::StrCat(at, mdb_strerror(rc), "; make room there"));
  }
  doubt_ = true;
  const bool damage = IsDamageCode(rc);
  const bool foreign = damage || rc == MDB_VERSION_MISMATCH;
  absl::Status status = Failure(Reaction::kHaltJob, absl::StrCat(at, mdb_strerror(rc), "; ",
                                                                 foreign ? cure_ : "check the disk it is on, then restart"));
  return damage ? AsDamage(std::move(status)) : status;
}

absl::Status Environment::Damaged(std::string_view where) const {
  doubt_ = true;
  return AsDamage(Failure(Reaction::kHaltJob, absl::StrCat(what_, " ", model::QuotePath(dir_), ": the entry of ",
                                                           std::string(where), " does not parse; ", cure_)));
}

absl::Status Environment::Newer(unsigned int found, unsigned int known) const {
  return Failure(Reaction::kHaltJob, absl::StrCat(what_, " ", model::QuotePath(dir_), ": written in format ",
                                                  found, ", and this program knows none above ", known,
                                                  "; install the newer fanmirror, or ", cure_));
}

absl::StatusOr<Transaction> Transaction::Begin(const Environment& env, unsigned int flags) {
  MDB_txn* txn = nullptr;
  if (const int rc = mdb_txn_begin(env.get(), nullptr, flags, &txn); rc != 0) return env.Error("begin", rc);
  return Transaction(&env, txn);
}

Transaction::~Transaction() {
  if (txn_ != nullptr) mdb_txn_abort(txn_);
}

absl::Status Transaction::OpenTable(const char* name, MDB_dbi* table) const {
  const int rc = mdb_dbi_open(txn_, name, MDB_CREATE, table);
  return rc == 0 ? absl::OkStatus() : env_->Error(absl::StrCat("open table ", name), rc);
}

absl::StatusOr<std::optional<std::string_view>> Transaction::Get(MDB_dbi table, std::string_view key) const {
  MDB_val k = ToVal(key);
  MDB_val value;
  const int rc = mdb_get(txn_, table, &k, &value);
  if (rc == MDB_NOTFOUND) return std::nullopt;
  if (rc != 0) return env_->Error("get", rc);
  return FromVal(value);
}

absl::Status Transaction::Put(MDB_dbi table, std::string_view key, std::string_view value,
                              unsigned int flags) const {
  MDB_val k = ToVal(key);
  MDB_val v = ToVal(value);
  const int rc = mdb_put(txn_, table, &k, &v, flags);
  return rc == 0 ? absl::OkStatus() : env_->Error("put", rc);
}

absl::Status Transaction::Delete(MDB_dbi table, std::string_view key) const {
  MDB_val k = ToVal(key);
  const int rc = mdb_del(txn_, table, &k, nullptr);
  return rc == 0 || rc == MDB_NOTFOUND ? absl::OkStatus() : env_->Error("delete", rc);
}

absl::Status Transaction::Empty(MDB_dbi table) const {
  const int rc = mdb_drop(txn_, table, 0);
  return rc == 0 ? absl::OkStatus() : env_->Error("empty", rc);
}

absl::StatusOr<std::uint64_t> Transaction::Count(MDB_dbi table) const {
  MDB_stat stat{};
  if (const int rc = mdb_stat(txn_, table, &stat); rc != 0) return env_->Error("stat", rc);
  return stat.ms_entries;
}

absl::StatusOr<Cursor> Transaction::OpenCursor(MDB_dbi table) const {
  MDB_cursor* cursor = nullptr;
  if (const int rc = mdb_cursor_open(txn_, table, &cursor); rc != 0) return env_->Error("cursor", rc);
  return Cursor(cursor);
}

absl::StatusOr<std::optional<std::string_view>> Transaction::FirstKeyFrom(MDB_dbi table,
                                                                          std::string_view key) const {
  absl::StatusOr<Cursor> cursor = OpenCursor(table);
  if (!cursor.ok()) return cursor.status();
  MDB_val k = ToVal(key);
  MDB_val value;
  const int rc = mdb_cursor_get(cursor->get(), &k, &value, key.empty() ? MDB_FIRST : MDB_SET_RANGE);
  if (rc == MDB_NOTFOUND) return std::nullopt;
  if (rc != 0) return env_->Error("seek", rc);
  return FromVal(k);
}

absl::Status Transaction::Commit() {
  const int rc = mdb_txn_commit(std::exchange(txn_, nullptr));
  env_->NoteWritten();
  return rc == 0 ? absl::OkStatus() : env_->Error("commit", rc);
}

absl::Status Transaction::Renew() const {
  mdb_txn_reset(txn_);
  const int rc = mdb_txn_renew(txn_);
  return rc == 0 ? absl::OkStatus() : env_->Error("renew", rc);
}

}  // namespace fanmirror::catalogue
