#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "catalogue/expected.h"
#include "model/op.h"
#include "plan/facts.h"

namespace fanmirror::plan {

struct Policy {
  model::FileId root;  // of the source
  bool delete_at_startup = true;
  bool delete_while_running = true;
  // Entries that the plan may remove because the source has them no more. If it would be more, none of them goes: they are
  // held back (Plan::held), and all else is planned. nullopt: any number.
  std::optional<std::uint64_t> deletes_allowed = {};
};

// An op and what the catalogue will say once it is applied. Records of nodes in it are provisional (as they were looked
// at); who reads the node replaces them by what was sent.
struct Step {
  model::Op op;
  std::vector<catalogue::Effect> effects;
  std::uint64_t bytes = 0;  // of content that this may send
  bool deletes = false;     // removes an entry because the source has it no more (not because another takes its place)
};

struct Plan {
  std::vector<Step> steps;  // in the order in which they must be applied
  // Effects that need no op: what is kept on the target although the source has it no more is forgotten.
  std::vector<catalogue::Effect> forgotten;
  // Cannot be decided yet: to be looked at again soon.
  std::vector<model::Change> postponed;
  // What the source has no more and the target keeps, because so many deletes are not allowed: to be looked at again once
  // they are. What had to make place for another node is kept in limbo.
  std::vector<model::Change> held;
  // Cannot be done under the policy; the message is for people.
  struct Refusal {
    model::Change change;
    std::string message;
  };
  std::vector<Refusal> refused;
};

// Closes the difference between what the facts say of the source and what `expected` says of the target. Pure but for
// `expected`, to which the effects of the plan are applied under the number `round`.
// Names are placed top-down: a directory before what is in it, and what is in the way before what takes its place; a
// cycle is broken by setting one node aside into limbo. So no op finds its place occupied by what is still wanted, and no
// directory is moved below itself. Then come deletes, then content (but of
// what moves: before), then the times of the directories touched.
Plan MakePlan(const Facts& facts, const Policy& policy, std::uint64_t round, catalogue::Expected* expected);

// Where a node is set aside on the target while it has no name.
model::Name LimboName(const model::FileId& id);

// The changes that make a name, a node, or a node in limbo be looked at again, content and all.
model::Change NameChange(const model::Name& name);
model::Change NodeChange(const model::FileId& id);
model::Change LimboChange(const model::FileId& id);
model::Change TreeChange(const model::FileId& id);

}  // namespace fanmirror::plan
