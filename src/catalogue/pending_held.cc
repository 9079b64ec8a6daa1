#include <mutex>
#include <string>
#include <utility>

#include "catalogue/codec.h"
#include "catalogue/pending_edit.h"
#include "catalogue/pending_set.h"

namespace fanmirror::catalogue {
namespace {

// Held entries are the last of those that wait.
std::string HeldKey(std::string_view place) { return IndexKey(OrderedBits(PendingSet::kHeldNs), place); }

}  // namespace

absl::StatusOr<std::vector<model::Change>> PendingSet::Held(const std::optional<model::Change>& after,
                                                            std::size_t max) const {
  const std::lock_guard lock(store_->mutex);
  std::vector<model::Change> held;
  const auto txn = Transaction::Read(*store_->env);
  if (!txn.ok()) return txn.status();
  // No place begins with another one and a zero byte: names hold none.
  std::string from = HeldKey(after ? PlaceKey(*after) + std::string(1, '\0') : "");
  while (held.size() < max) {
    const auto key = txn->FirstKeyFrom(store_->tables.due, from);
    if (!key.ok()) return key.status();
    if (!key->has_value()) break;
    auto change = DecodePlace(PlaceOfIndexKey(**key));
    if (!change) return store_->env->Damaged("its index of what is due");
    held.push_back(*std::move(change));
    from = std::string(**key) + std::string(1, '\0');
  }
  return held;
}

absl::StatusOr<std::size_t> PendingSet::ReleaseHeld(std::int64_t now_ns, std::size_t max) {
  const std::lock_guard lock(store_->mutex);
  auto edit = PendingEdit::Begin(store_.get());
  if (!edit.ok()) return edit.status();
  std::size_t released = 0;
  for (; released < max; ++released) {
    const auto key = edit->transaction().FirstKeyFrom(store_->tables.due, HeldKey(""));
    if (!key.ok()) return key.status();
    if (!key->has_value()) break;
    const std::string place(PlaceOfIndexKey(**key));
    const auto before = edit->Load(place);
    if (!before.ok()) return before.status();
    if (!before->has_value()) return store_->env->Damaged("its index of what is due");
    StoredEntry entry = **before;
    entry.due_ns = entry.not_before_ns = now_ns;
    if (absl::Status status = edit->Save(place, *before, entry); !status.ok()) return status;
  }
  if (released == 0) return released;
  if (absl::Status status = edit->Commit(); !status.ok()) return status;
  return released;
}

}  // namespace fanmirror::catalogue
