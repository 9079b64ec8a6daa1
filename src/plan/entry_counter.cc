#include "plan/entry_counter.h"

#include <string>

#include "absl/hash/hash.h"
#include "plan/planner.h"

namespace fanmirror::plan {

using model::FileId;
using model::Name;

void EntryCounter::AddTree(const Name& name) {
  const auto top = view_->Child(name);
  if (!top) return;
  seen_.insert(absl::Hash<Name>()(name));
  std::vector<FileId> stack{*top};
  while (!stack.empty()) {
    const FileId dir = stack.back();
    stack.pop_back();
    view_->ForEachChild(dir, [&](const std::string& entry, const FileId& id) {
      if (seen_.insert(absl::Hash<Name>()({dir, entry})).second) stack.push_back(id);
      return true;
    });
  }
}

void EntryCounter::AddHeld(const model::Change& change) {
  if (change.kind == model::Change::Kind::kLimbo) {
    AddTree(LimboName(change.id));
  } else {
    AddTree({change.id, change.name});
  }
}

}  // namespace fanmirror::plan
