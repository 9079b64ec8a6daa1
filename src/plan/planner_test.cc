#include "plan/planner.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "catalogue/nothing_held_for_test.h"

namespace fanmirror::plan {
namespace {

using catalogue::Effect;
using model::FileId;
using model::Name;
using model::NodeType;
using model::Op;

FileId Id(std::uint64_t number) {
  return model::FileId::FromHandle(1, {reinterpret_cast<const char*>(&number), sizeof number}).value();
}

// Two files in the root, `new` and `whole`, which the target holds with a size of 1.
class Moves : public testing::Test {
 protected:
  Moves() {
    Effect root{.kind = Effect::Kind::kSetNode, .id = kRoot, .name = {}, .to = {}, .record = {}};
    root.record.metadata.type = NodeType::kDirectory;
    expected_.Apply(1, root);
    Holds(kNew, "new");
    Holds(kOld, "whole");
  }
  void Holds(const FileId& id, const std::string& name) {
    Effect node{.kind = Effect::Kind::kSetNode, .id = id, .name = {}, .to = {}, .record = {}};
    node.record.metadata = File(1);
    expected_.Apply(1, node);
    expected_.Apply(
        1, {.kind = Effect::Kind::kSetName, .id = id, .name = {kRoot, name}, .to = {}, .record = {}});
  }
  static model::Metadata File(std::uint64_t size) {
    model::Metadata metadata;
    metadata.type = NodeType::kRegular;
    metadata.size = size;
    return metadata;
  }
  // The name means a file of this size now, or nothing.
  void Sees(const std::string& name, const FileId& id, std::uint64_t size) {
    facts_.names[{kRoot, name}].node = model::Node{id, File(size)};
  }
  void SeesNothing(const std::string& name) { facts_.names[{kRoot, name}]; }
  std::vector<std::string> Ops() {
    std::vector<std::string> ops;
    for (const Step& step : MakePlan(facts_, {.root = kRoot}, 2, &expected_).steps) {
      const Op& op = step.op;
      const std::string from = op.from.empty() ? "" : absl::StrCat(op.from, " -> ");
      if (op.kind == Op::Kind::kPut) {
        ops.push_back(absl::StrCat("put ", op.path));
        EXPECT_EQ(op.names, facts_names_) << "where the source has what is read";
      } else if (op.kind == Op::Kind::kRename || op.kind == Op::Kind::kExchange) {
        ops.push_back(absl::StrCat(op.kind == Op::Kind::kRename ? "rename " : "exchange ", from, op.path));
      } else if (op.type != NodeType::kDirectory) {
        ops.push_back(absl::StrCat("other ", op.path));
      }
    }
    return ops;
  }

  const FileId kRoot = Id(1), kNew = Id(2), kOld = Id(3);
  catalogue::NothingHeld nothing_;
  catalogue::Expected expected_{&nothing_};
  Facts facts_;
  std::vector<Name> facts_names_;
};

TEST_F(Moves, AFileThatIsAsItWasIsOnlyRenamed) {
  Sees("whole", kNew, 1);
  SeesNothing("new");
  facts_.fates[kOld] = Fate::kGone;
  EXPECT_EQ(Ops(), std::vector<std::string>{"rename new -> whole"});
}

// It may have been read when half of it was written: that must not stand in the place of the whole file
// before it.
TEST_F(Moves, AFileIsRenewedBeforeItTakesThePlaceOfAnother) {
  Sees("whole", kNew, 2);
  SeesNothing("new");
  facts_.fates[kOld] = Fate::kGone;
  facts_names_ = {{kRoot, "whole"}};
  EXPECT_EQ(Ops(), (std::vector<std::string>{"put new", "rename new -> whole"}));
}

// What failed to be made half-way may be known without a name.
TEST_F(Moves, WhatIsKnownWithoutANameIsMade) {
  const FileId half = Id(4);
  Effect node{.kind = Effect::Kind::kSetNode, .id = half, .name = {}, .to = {}, .record = {}};
  node.record.metadata = File(1);
  expected_.Apply(1, node);
  Sees("half", half, 1);
  facts_names_ = {{kRoot, "half"}};
  EXPECT_EQ(Ops(), std::vector<std::string>{"put half"});
}

TEST_F(Moves, OneOfTwoIsRenewedBeforeTheyChangePlaces) {
  Sees("whole", kNew, 2);
  Sees("new", kOld, 1);
  facts_names_ = {{kRoot, "whole"}};
  EXPECT_EQ(Ops(), (std::vector<std::string>{"put new", "exchange whole -> new"}));
}

// What was outside for a while may have been written there, its size and mtime kept.
TEST_F(Moves, WhatComesBackFromLimboIsReadAgainIfItsCtimeMoved) {
  const auto away_and_back = [&](std::int64_t ctime_seconds) {
    const Name limbo{FileId::Limbo(), "aside"};
    expected_.Apply(
        1, {.kind = Effect::Kind::kMoveName, .id = kNew, .name = {kRoot, "new"}, .to = limbo, .record = {}});
    Sees("new", kNew, 1);
    facts_.names[{kRoot, "new"}].node->metadata.ctime = {ctime_seconds, 0};
    facts_names_ = {{kRoot, "new"}};
    return Ops();
  };
  EXPECT_EQ(away_and_back(0).size(), 1U);
  const std::vector<std::string> ops = away_and_back(5);
  ASSERT_EQ(ops.size(), 2U);
  EXPECT_EQ(ops[1], "put new");
}

TEST_F(Moves, WhatIsSetAsideByThePlanItselfIsNotReadForThat) {
  Holds(Id(4), "third");
  Sees("whole", kNew, 1);
  Sees("third", kOld, 1);
  Sees("new", Id(4), 1);
  for (auto& [name, observation] : facts_.names) observation.node->metadata.ctime = {5, 0};
  for (const std::string& op : Ops()) EXPECT_EQ(op.find("put"), std::string::npos) << op;
}

// The kernel's clock ticks: what changed twice in one tick, and was read between, has the ctime that it had.
TEST_F(Moves, AnEventCountsThoughTheCtimeIsTheOneThatWasRead) {
  facts_.nodes[kNew] = {kNew, File(1)};
  EXPECT_TRUE(Ops().empty());
  Effect racy{.kind = Effect::Kind::kSetNode, .id = kNew, .name = {}, .to = {}, .record = {}};
  racy.record.metadata = File(1);
  racy.record.racy = true;
  expected_.Apply(1, racy);
  EXPECT_EQ(Ops(), std::vector<std::string>{"other new"});
}

}  // namespace
}  // namespace fanmirror::plan
