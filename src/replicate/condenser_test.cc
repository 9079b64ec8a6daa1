#include "replicate/condenser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "os/clock.h"
#include "os/testing/tree_fixture.h"
#include "plan/planner.h"

namespace fanmirror::replicate {
namespace {

using catalogue::Catalogue;
using catalogue::Effect;
using catalogue::PendingSet;
using model::Change;
using model::FileId;
using model::Name;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

// More than one step takes, and enough for a pass to begin.
constexpr int kMany = 12'000;

class CondenserTest : public os::testing::TreeTest {
 protected:
  void SetUp() override {
    TreeTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    auto catalogue = Catalogue::Open(At("catalogue"));
    ASSERT_TRUE(catalogue.ok()) << catalogue.status();
    catalogue_ = *std::move(catalogue);
    auto pending = PendingSet::Open(At("pending"), "boot", {});
    ASSERT_TRUE(pending.ok()) << pending.status();
    pending_ = *std::move(pending);
    Mirror("source");
  }
  // As if the target had the node at `path`, which is the root or below it.
  void Mirror(const std::string& path) {
    const FileId id = IdOf(path);
    Effect node{.kind = Effect::Kind::kSetNode, .id = id, .name = {}, .to = {}, .record = {}};
    node.record.metadata = LookNode(id)->metadata;
    std::vector<Effect> effects{node};
    if (id != tree_->root()) effects.push_back({Effect::Kind::kSetName, id, NameOf(path), {}, {}});
    const absl::Status status = catalogue_->Commit(1, effects);
    ASSERT_TRUE(status.ok()) << status;
  }
  Name NameOf(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    return {IdOf(path.substr(0, slash)), path.substr(slash + 1)};
  }
  Change NodeOf(const std::string& path) { return plan::NodeChange(IdOf(path)); }
  void Note(const Change& change) {
    const absl::Status status = pending_->Note({change}, os::BoottimeNs());
    ASSERT_TRUE(status.ok()) << status;
  }
  void Remove(const std::string& path) { ASSERT_EQ(::unlink(At(path).c_str()), 0) << path; }
  // The set after a whole pass.
  std::vector<Change> Condense() {
    Condenser condenser(tree_.get(), catalogue_.get(), pending_.get());
    for (;;) {
      const auto more = condenser.Step();
      EXPECT_TRUE(more.ok()) << more.status();
      if (!more.ok() || !*more) return Pending();
    }
  }
  std::vector<Change> Pending() {
    std::vector<Change> changes;
    const auto entries = pending_->List(nullptr, 100'000);
    EXPECT_TRUE(entries.ok()) << entries.status();
    if (!entries.ok()) return changes;
    for (const auto& entry : *entries) changes.push_back(entry.change);
    return changes;
  }
  std::unique_ptr<Catalogue> catalogue_;
  std::unique_ptr<PendingSet> pending_;
};

// What an application leaves that saves by writing a new file and renaming it.
TEST_P(CondenserTest, NodesThatCameAndWentLeaveOneEntry) {
  for (int i = 0; i < 300; ++i) {
    WriteFile("source/new", "x");
    Note(plan::NameChange(NameOf("source/new")));
    Note(NodeOf("source/new"));
    Rename("source/new", "source/file");
    Note(plan::NameChange(NameOf("source/file")));
  }
  EXPECT_THAT(Condense(), UnorderedElementsAre(plan::NameChange(NameOf("source/file")), NodeOf("source")));
}

TEST_P(CondenserTest, NamesThatCameAndWentLeaveTheTimesOfTheirDirectory) {
  MakeDirectory("source/held");
  MakeDirectory("source/new");
  Mirror("source/held");
  for (int i = 0; i < 10; ++i) {
    for (const char* dir : {"source/held", "source/new"}) Note(plan::NameChange({IdOf(dir), absl::StrCat("temporary", i)}));
  }
  EXPECT_THAT(Condense(), UnorderedElementsAre(NodeOf("source/held"), NodeOf("source")));
}

TEST_P(CondenserTest, WhatTheTargetHasStays) {
  WriteFile("source/changed", "x");
  WriteFile("source/gone", "x");
  Mirror("source/changed");
  Mirror("source/gone");
  Note(NodeOf("source/changed"));
  Note(NodeOf("source/gone"));
  Note(plan::NameChange(NameOf("source/gone")));
  Remove("source/gone");
  EXPECT_THAT(Condense(), UnorderedElementsAre(NodeOf("source/changed"), plan::NameChange(NameOf("source/gone")),
                                               NodeOf("source")));
}

TEST_P(CondenserTest, ANewNodeIsFoundByItsName) {
  WriteFile("source/new", "x");
  MakeDirectory("source/directory");
  Note(NodeOf("source/new"));
  Note(NodeOf("source/directory"));
  EXPECT_THAT(Condense(), UnorderedElementsAre(plan::NameChange(NameOf("source/new")),
                                               plan::NameChange(NameOf("source/directory"))));
}

TEST_P(CondenserTest, ANewNodeWithTwoNamesStays) {
  WriteFile("source/new", "x");
  ASSERT_EQ(::link(At("source/new").c_str(), At("source/linked").c_str()), 0);
  Note(NodeOf("source/new"));
  EXPECT_THAT(Condense(), ElementsAre(NodeOf("source/new")));
}

TEST_P(CondenserTest, ADirectoryThatIsGoneNeedsNoWalk) {
  MakeDirectory("source/gone");
  MakeDirectory("source/there");
  Note(plan::TreeChange(IdOf("source/gone")));
  Note(plan::TreeChange(IdOf("source/there")));
  const Change there = plan::TreeChange(IdOf("source/there"));
  ASSERT_EQ(::rmdir(At("source/gone").c_str()), 0);
  EXPECT_THAT(Condense(), UnorderedElementsAre(there, NodeOf("source")));
}

TEST_P(CondenserTest, TheBarrierStaysWhereItIs) {
  WriteFile("source/gone", "x");
  Note(NodeOf("source/gone"));
  Remove("source/gone");
  WriteFile("source/later", "x");
  Note(plan::NameChange(NameOf("source/later")));
  Condense();
  EXPECT_EQ(pending_->OldestSequence(), 1u);
}

TEST_P(CondenserTest, APassGoesOverAllInSteps) {
  std::vector<Change> changes;
  for (int i = 0; i < kMany; ++i) changes.push_back(plan::NameChange({tree_->root(), absl::StrCat("temporary", i)}));
  ASSERT_TRUE(pending_->Note(changes, os::BoottimeNs()).ok());
  EXPECT_THAT(Condense(), ElementsAre(NodeOf("source")));
}

TEST_P(CondenserTest, PassesHaveAPauseInBetween) {
  Condenser condenser(tree_.get(), catalogue_.get(), pending_.get());
  Note(NodeOf("source"));
  ASSERT_TRUE(condenser.Step().ok());
  Note(plan::NameChange({tree_->root(), "temporary"}));
  ASSERT_TRUE(condenser.Step().ok());
  EXPECT_THAT(Pending(), Contains(plan::NameChange({tree_->root(), "temporary"})));
}

INSTANTIATE_TEST_SUITE_P(On, CondenserTest, ::testing::Values("tmpfs", "ext4"),
                         [](const auto& instance) { return instance.param; });

}  // namespace
}  // namespace fanmirror::replicate
