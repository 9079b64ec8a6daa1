#include "catalogue/catalogue.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "catalogue/codec.h"
#include "catalogue/environment.h"
#include "catalogue/expected.h"
#include "catalogue/record_format.h"
#include "model/failure.h"

namespace fanmirror::catalogue {
namespace {

constexpr std::string_view kFormatKey = "format";
constexpr std::string_view kHeaderKey = "header";
constexpr unsigned int kTables = 3;
constexpr std::string_view kCure =
    "stop the daemon and remove this directory, then the target is compared anew";

absl::StatusOr<std::string> NewInstance() {
  std::array<char, 16> random{};  // bytes: no two catalogues ever get the same
  if (getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size())) {
    return model::SystemFailure(model::Reaction::kRetry, "getrandom", "", errno);
  }
  return absl::BytesToHexString(absl::string_view(random.data(), random.size()));
}

}  // namespace

struct Catalogue::Store {
  std::unique_ptr<Environment> env;
  MDB_dbi meta = 0;
  MDB_dbi nodes = 0;
  MDB_dbi names = 0;
  std::optional<Transaction> reader;  // at the newest commit always; a get within it costs no system call
  absl::Status health;

  void Remember(const absl::Status& status) {
    if (health.ok()) health = status;
  }
  std::optional<std::string_view> Get(MDB_dbi table, std::string_view key);
  absl::Status OpenTables(Header* header);
  absl::Status PutHeader(const Transaction& txn, const Header& header) const;
  absl::Status CommitAndRenew(Transaction txn);
  absl::Status WriteNodes(const Transaction& txn, const Expected& changed) const;
  absl::Status WriteNames(const Transaction& txn, const Expected& changed) const;
};

std::optional<std::string_view> Catalogue::Store::Get(MDB_dbi table, std::string_view key) {
  if (!health.ok()) return std::nullopt;
  const auto value = reader->Get(table, key);
  if (!value.ok()) {
    Remember(value.status());
    return std::nullopt;
  }
  return *value;
}

absl::Status Catalogue::Store::PutHeader(const Transaction& txn, const Header& header) const {
  const std::optional<std::string> bytes = EncodeHeader(header);
  if (!bytes) {
    return model::Failure(
        model::Reaction::kHaltJob,
        "catalogue: a header with more than 255 bytes of instance or filesystem cannot be stored; "
        "this is a fault of fanmirror, report it");
  }
  return txn.Put(meta, kHeaderKey, *bytes);
}

absl::Status Catalogue::Store::OpenTables(Header* header) {
  auto txn = Transaction::Write(*env);
  if (!txn.ok()) return txn.status();
  absl::Status status = txn->OpenTable("meta", &meta);
  if (status.ok()) status = txn->OpenTable("nodes", &nodes);
  if (status.ok()) status = txn->OpenTable("names", &names);
  if (!status.ok()) return status;
  const auto format = txn->Get(meta, kFormatKey);
  if (!format.ok()) return format.status();
  if (!format->has_value()) {
    std::string version;
    AppendLittle(kCatalogueFormat, &version);
    auto instance = NewInstance();
    if (!instance.ok()) return instance.status();
    header->instance = *std::move(instance);
    status = txn->Put(meta, kFormatKey, version);
    if (status.ok()) status = PutHeader(*txn, *header);
  } else {
    Parser in(**format);
    const auto version = in.Little<std::uint32_t>();
    if (version > kCatalogueFormat) return env->Newer(version, kCatalogueFormat);
    if (!in.ok() || version != kCatalogueFormat) return env->Damaged("its format");
    const auto bytes = txn->Get(meta, kHeaderKey);
    if (!bytes.ok()) return bytes.status();
    auto stored = DecodeHeader(bytes->value_or(""));
    if (!stored) return env->Damaged("its header");
    *header = *std::move(stored);
  }
  return status.ok() ? txn->Commit() : status;
}

absl::Status Catalogue::Store::CommitAndRenew(Transaction txn) {
  absl::Status status = txn.Commit();
  // What failed for want of room left everything as it was; after any other failure nobody knows what is on
  // the disk.
  if (!status.ok() && model::ReactionOf(status) != model::Reaction::kRetry) Remember(status);
  if (absl::Status renewed = reader->Renew(); !renewed.ok()) {
    Remember(renewed);
    return renewed;
  }
  return status;
}

// In the order of the keys: neighbours share their pages, so each is found and copied once.
absl::Status Catalogue::Store::WriteNodes(const Transaction& txn, const Expected& changed) const {
  std::vector<std::pair<std::string, std::optional<std::string>>> rows;
  const model::FileId* unfit = nullptr;
  changed.ForEachChangedNode([&](const model::FileId& id, const std::optional<Record>& record,
                                 const std::vector<model::Name>& names_of) {
    auto value = record ? EncodeNode(*record, names_of) : std::nullopt;
    if (id.empty() || (record && !value)) unfit = &id;
    rows.emplace_back(NodeKey(id), std::move(value));
  });
  if (unfit != nullptr) {
    return model::Failure(model::Reaction::kHaltJob,
                          "catalogue: node " + unfit->ToString() +
                              " has a field out of its range and cannot be stored; this "
                              "is a fault of fanmirror, report it");
  }
  std::sort(rows.begin(), rows.end());
  for (const auto& [key, value] : rows) {
    absl::Status status = value ? txn.Put(nodes, key, *value) : txn.Delete(nodes, key);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status Catalogue::Store::WriteNames(const Transaction& txn, const Expected& changed) const {
  absl::Status status;
  changed.ForEachChangedName([&](const model::Name& name, const std::optional<model::FileId>& id) {
    if (!status.ok() || name.dir.empty() || !IsEntryName(name.name))
      return;  // such a name means nothing: WriteNodes
    status = id ? txn.Put(names, NameKey(name), id->Encode()) : txn.Delete(names, NameKey(name));
  });
  return status;
}

Catalogue::Catalogue() : store_(std::make_unique<Store>()) {}
Catalogue::~Catalogue() = default;

absl::StatusOr<std::unique_ptr<Catalogue>> Catalogue::Open(const std::string& dir) {
  auto catalogue = OpenAsItIs(dir);
  if (catalogue.ok() || !IsDamage(catalogue.status())) return catalogue;
  const std::string why(catalogue.status().message());
  if (absl::Status status = SetStoreAside(dir); !status.ok()) return status;
  catalogue = OpenAsItIs(dir);
  if (catalogue.ok()) (*catalogue)->set_aside_ = absl::StrCat(why, "; set aside, the target is listed and compared anew");
  return catalogue;
}

absl::StatusOr<std::unique_ptr<Catalogue>> Catalogue::OpenAsItIs(const std::string& dir) {
  auto env = Environment::Open(dir, "catalogue", kCure, kTables, Environment::Durability::kSync);
  if (!env.ok()) return env.status();
  auto catalogue = std::unique_ptr<Catalogue>(new Catalogue());
  Store& store = *catalogue->store_;
  store.env = *std::move(env);
  if (absl::Status status = store.OpenTables(&catalogue->header_); !status.ok()) return status;
  auto reader = Transaction::Read(*store.env);
  if (!reader.ok()) return reader.status();
  store.reader.emplace(*std::move(reader));
  return catalogue;
}

absl::Status Catalogue::SetHeader(const Header& header) {
  auto txn = Transaction::Write(*store_->env);
  if (!txn.ok()) return txn.status();
  if (absl::Status status = store_->PutHeader(*txn, header); !status.ok()) return status;
  absl::Status status = store_->CommitAndRenew(*std::move(txn));
  if (status.ok()) header_ = header;
  return status;
}

absl::Status Catalogue::Commit(std::uint64_t batch, absl::Span<const Effect> effects) {
  Expected changed(this);
  for (const Effect& effect : effects) changed.Apply(batch, effect);
  if (!store_->health.ok()) return store_->health;  // what could not be read was taken for absent
  auto txn = Transaction::Write(*store_->env);
  if (!txn.ok()) return txn.status();
  Header header = header_;
  header.batch = batch;
  absl::Status status = store_->WriteNodes(*txn, changed);
  if (status.ok()) status = store_->WriteNames(*txn, changed);
  if (status.ok()) status = store_->PutHeader(*txn, header);
  if (status.ok()) status = store_->CommitAndRenew(*std::move(txn));
  if (status.ok()) header_ = std::move(header);
  return status;
}

absl::Status Catalogue::Clear() {
  auto txn = Transaction::Write(*store_->env);
  if (!txn.ok()) return txn.status();
  Header header = header_;
  header.complete = false;
  absl::Status status = txn->Empty(store_->nodes);
  if (status.ok()) status = txn->Empty(store_->names);
  if (status.ok()) status = store_->PutHeader(*txn, header);
  if (status.ok()) status = store_->CommitAndRenew(*std::move(txn));
  if (!status.ok()) return status;
  header_ = std::move(header);
  store_->health = absl::OkStatus();
  return status;
}

std::uint64_t Catalogue::nodes() const {
  const auto count = store_->reader->Count(store_->nodes);
  if (!count.ok()) store_->Remember(count.status());
  return count.value_or(0);
}

absl::Status Catalogue::health() const { return store_->health; }

std::optional<Record> Catalogue::Node(const model::FileId& id) const {
  const auto bytes = store_->Get(store_->nodes, NodeKey(id));
  if (!bytes) return std::nullopt;
  auto record = DecodeRecord(*bytes);
  if (!record) store_->Remember(store_->env->Damaged("node " + id.ToString()));
  return record;
}

std::optional<model::FileId> Catalogue::Child(const model::Name& name) const {
  if (!IsEntryName(name.name)) return std::nullopt;
  const auto bytes = store_->Get(store_->names, NameKey(name));
  if (!bytes) return std::nullopt;
  auto id = DecodeId(*bytes);
  if (!id) store_->Remember(store_->env->Damaged("name " + model::QuotePath(name.name)));
  return id;
}

std::vector<model::Name> Catalogue::NamesOf(const model::FileId& id) const {
  const auto bytes = store_->Get(store_->nodes, NodeKey(id));
  if (!bytes) return {};
  auto node = DecodeNode(*bytes);
  if (!node) {
    store_->Remember(store_->env->Damaged("node " + id.ToString()));
    return {};
  }
  return std::move(node->names);
}

void Catalogue::ForEachChild(
    const model::FileId& dir,
    absl::FunctionRef<bool(const std::string& name, const model::FileId& id)> visit) const {
  if (!store_->health.ok()) return;
  const auto cursor = store_->reader->OpenCursor(store_->names);
  if (!cursor.ok()) return store_->Remember(cursor.status());
  const std::string prefix = dir.Encode();
  MDB_val key = ToVal(prefix);
  MDB_val value;
  int rc = mdb_cursor_get(cursor->get(), &key, &value, MDB_SET_RANGE);
  for (; rc == 0 && FromVal(key).starts_with(prefix);
       rc = mdb_cursor_get(cursor->get(), &key, &value, MDB_NEXT)) {
    const std::string name(FromVal(key).substr(prefix.size()));
    const auto id = DecodeId(FromVal(value));
    if (!id || !IsEntryName(name)) {
      return store_->Remember(store_->env->Damaged("name " + model::QuotePath(name)));
    }
    if (!visit(name, *id)) return;
  }
  if (rc != 0 && rc != MDB_NOTFOUND) store_->Remember(store_->env->Error("walk", rc));
}

}  // namespace fanmirror::catalogue
