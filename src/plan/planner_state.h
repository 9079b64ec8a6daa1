#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "plan/compare.h"
#include "plan/paths.h"
#include "plan/planner.h"

namespace fanmirror::plan {

// The work of one MakePlan. Each emitted step changes `now_` at once, so that the next decision sees it.
class Planner {
 public:
  Planner(const Facts& facts, const Policy& policy, std::uint64_t round, catalogue::Expected* expected);
  Plan Run();

 private:
  enum class Placing { kDone, kBlocked };
  enum class Progress { kActive, kFinished };

  // placement.cc: names get the node they mean
  void IndexWanted();
  Placing Place(const model::Name& name);
  Placing PlaceParent(const model::FileId& dir);
  void ForgetUnreachable(const model::Node& node);
  // What lies at `name` and is not `wanted` goes elsewhere, unless renaming over it is right. False: `name` cannot be had.
  enum class Clearing { kFree, kExchanged, kImpossible };
  Clearing ClearPlace(const model::Name& name, const model::Node& wanted);
  Clearing MoveOccupant(const model::Name& name, const model::FileId& occupant, const model::Node& wanted);
  bool TryExchange(const model::Name& name, const model::Name& other, const model::Node& wanted);
  void Attach(const model::Name& name, const model::Node& node);
  void Create(const model::Name& name, const model::Node& node);
  std::optional<model::Name> LosingName(const model::FileId& id) const;
  std::optional<model::Name> UnplacedWish(const model::FileId& id) const;

  // removal.cc: names that mean nothing any more
  enum class Loss { kNothing, kForget, kPostpone, kSetAside, kRemoveName, kRemoveTree };
  Loss JudgeLoss(const model::Name& name, const Observation& observation);
  void Vacate(const model::Name& name, const Observation& observation);
  void FindDoomed();
  bool DeletesTooMuch(const std::vector<model::Name>& names);
  void RemoveTree(const model::Name& name);
  bool RemoveLeafOrKeep(const model::Name& name, const model::FileId& id);
  void ForgetTree(const model::Name& name);
  void EmptyLimbo();
  void SetAside(const model::Name& name, const model::FileId& id, bool follow);
  Fate FateOf(const model::FileId& id) const;
  bool MayDelete(const Observation& observation) const;

  // renewal.cc: content and metadata
  void Renew(const model::FileId& id, const model::Metadata& metadata);
  // The content of a file that is to get another name is renewed under the one that it has on the target: what it holds there
  // may be half of what was written when it was read, and must not be seen in the place of a whole file that it replaces.
  // Nothing for what has no place on the target but in limbo.
  void RenewBeforeMove(const model::Node& node);
  // nullopt: the target has no such node, or it is made by this plan.
  std::optional<Difference> DifferenceOf(const model::FileId& id, const model::Metadata& metadata) const;
  void RenewDirectories();

  // Emits the op with its effects. kMake, kPut, kSetMetadata get kSetNode besides, from `metadata`.
  void Emit(model::Op op, std::vector<catalogue::Effect> effects, std::uint64_t bytes = 0);
  void EmitRename(const model::Name& from, const model::Name& to, const model::FileId& id);
  void EmitRemove(const model::Name& name, const model::FileId& id);
  void Postpone(const model::Name& name);
  void Touch(const model::FileId& dir) { touched_.insert(dir); }
  bool IsDirectory(const model::FileId& id) const;

  const Facts& facts_;
  const Policy& policy_;
  const std::uint64_t round_;
  catalogue::Expected& now_;
  Paths paths_;
  Plan plan_;
  absl::flat_hash_map<model::FileId, std::vector<model::Name>> wanted_;  // node -> names that shall mean it
  absl::flat_hash_map<model::Name, Progress> progress_;
  absl::flat_hash_set<model::FileId> aside_;     // moved to limbo by this plan
  absl::flat_hash_set<model::FileId> returned_;  // moved out of limbo, where an earlier plan had put them
  absl::flat_hash_set<model::FileId> fresh_;     // made by this plan, or their content renewed
  absl::flat_hash_set<model::FileId> touched_;   // directories whose entries this plan changes
  std::vector<model::Name> doomed_;              // in limbo, to be removed at the end
  bool hold_ = false;                            // deletes are held back
  bool deleting_ = false;                        // what is removed now is gone from the source
};

catalogue::Effect SetNodeEffect(const model::FileId& id, const model::Metadata& metadata);

}  // namespace fanmirror::plan
