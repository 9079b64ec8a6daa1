#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "catalogue/view.h"

namespace fanmirror::catalogue {

// What a target will hold when every batch under way is through: a view (the catalogue) with effects on top
// that are not acknowledged yet. In memory, bounded by the batches under way. Catalogue::Commit applies its
// effects through one of these, so that both follow the same rules.
class Expected : public View {
 public:
  explicit Expected(const View* base) : base_(base) {}

  void Apply(std::uint64_t batch, const Effect& effect);
  // The base now holds the effects of all batches up to `batch`: forget those that no later batch changed
  // again.
  void Retire(std::uint64_t batch);
  // The connection is lost: nothing under way is expected any more.
  void Clear();

  std::optional<Record> Node(const model::FileId& id) const override;
  std::optional<model::FileId> Child(const model::Name& name) const override;
  std::vector<model::Name> NamesOf(const model::FileId& id) const override;
  void ForEachChild(
      const model::FileId& dir,
      absl::FunctionRef<bool(const std::string& name, const model::FileId& id)> visit) const override;

  // What lies on top of the base, forgotten nodes (no record) and dropped names (no id) included.
  void ForEachChangedNode(absl::FunctionRef<void(const model::FileId&, const std::optional<Record>&,
                                                 const std::vector<model::Name>&)>
                              visit) const;  // in no order
  void ForEachChangedName(absl::FunctionRef<void(const model::Name&, const std::optional<model::FileId>&)>
                              visit) const;  // a directory's together

 private:
  struct NodeState {
    std::uint64_t batch = 0;
    std::optional<Record> record;  // nullopt: forgotten
    std::vector<model::Name> names;
  };
  struct NameState {
    std::uint64_t batch = 0;
    std::optional<model::FileId> id;  // nullopt: means nothing
  };
  // Valid until the next call.
  NodeState& MutableNode(std::uint64_t batch, const model::FileId& id);
  void PointName(std::uint64_t batch, const model::Name& name, const model::FileId& id);
  void MoveName(std::uint64_t batch, const model::Name& from, const model::Name& to);
  void DetachName(std::uint64_t batch, const model::Name& name);

  const View* base_;
  absl::flat_hash_map<model::FileId, NodeState> nodes_;
  std::map<model::Name, NameState> names_;
};

}  // namespace fanmirror::catalogue
