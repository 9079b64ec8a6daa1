#include "replicate/looker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "catalogue/expected.h"
#include "catalogue/nothing_held_for_test.h"
#include "model/failure.h"
#include "os/testing/tree_fixture.h"
#include "plan/planner.h"
#include "replicate/name_hash.h"

namespace fanmirror::replicate {
namespace {

using catalogue::Effect;
using catalogue::NothingHeld;
using model::Change;
using model::FileId;
using model::Name;
using plan::Fate;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Key;
using ::testing::Not;
using ::testing::Pair;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

// A source on a real filesystem, and a target that held all of it when MirrorAll was called.
class LookerTest : public os::testing::TreeTest {
 protected:
  void MirrorAll() {
    MirrorNode("source");
    for (const auto& entry : std::filesystem::recursive_directory_iterator(At("source"))) {
      MirrorName(entry.path().string().substr(filesystem_->path().size() + 1));
    }
  }
  void MirrorNode(const std::string& path) {
    Effect effect{.kind = Effect::Kind::kSetNode, .id = IdOf(path), .name = {}, .to = {}, .record = {}};
    effect.record.metadata = LookNode(effect.id)->metadata;
    expected_.Apply(1, effect);
  }
  void MirrorName(const std::string& path) {
    MirrorNode(path);
    expected_.Apply(1, {Effect::Kind::kSetName, IdOf(path), NameOf(path), {}, {}});
  }
  // The directory must exist.
  Name NameOf(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    return {IdOf(path.substr(0, slash)), path.substr(slash + 1)};
  }
  void Exclude(const std::string& line) {
    const auto rules = select::ParseFilterLine(line);
    ASSERT_TRUE(rules.ok()) << rules.status();
    auto filter = select::Filter::Compile(*rules);
    ASSERT_TRUE(filter.ok()) << filter.status();
    selection_.filter = *filter;
  }
  void Remove(const std::string& path) { ASSERT_GT(std::filesystem::remove_all(At(path)), 0U) << path; }
  void Link(const std::string& from, const std::string& to) {
    ASSERT_EQ(::link(At(from).c_str(), At(to).c_str()), 0) << to;
  }

  Looker MakeLooker() { return Looker(tree_.get(), &selection_, &expected_); }
  // What a look at these changes gives.
  plan::Facts Look(const std::vector<Change>& changes) {
    Looker looker = MakeLooker();
    for (const Change& change : changes) looker.Add(change, /*limbo_is_over=*/false);
    looker.Close();
    EXPECT_THAT(looker.failed(), IsEmpty());
    return looker.facts();
  }
  plan::Facts LookAtName(const Name& name) {
    return Look({Change{Change::Kind::kName, name.dir, name.name}});
  }

  static std::optional<FileId> Meaning(const plan::Facts& facts, const Name& name) {
    const auto it = facts.names.find(name);
    EXPECT_TRUE(it != facts.names.end()) << name.name << " was not looked at";
    if (it == facts.names.end() || !it->second.node) return std::nullopt;
    return it->second.node->id;
  }

  scan::Selection selection_;
  NothingHeld nothing_;
  catalogue::Expected expected_{&nothing_};
};

INSTANTIATE_TEST_SUITE_P(On, LookerTest, ::testing::Values("tmpfs", "ext4"),
                         [](const auto& instance) { return instance.param; });

TEST_P(LookerTest, ARenameIsSeenFromEitherSide) {
  WriteFile("source/old", "text");
  MirrorAll();
  const Name before = NameOf("source/old");
  const FileId id = IdOf("source/old");
  Rename("source/old", "source/new");
  for (const Name& told : {before, NameOf("source/new")}) {
    const plan::Facts facts = LookAtName(told);
    EXPECT_EQ(Meaning(facts, before), std::nullopt) << told.name;
    EXPECT_EQ(Meaning(facts, NameOf("source/new")), id) << told.name;
    EXPECT_THAT(facts.fates, IsEmpty()) << told.name;
  }
}

TEST_P(LookerTest, ADirectoryThatGotOrLostANameIsLookedAtForItsTimes) {
  MakeDirectory("source/dir");
  WriteFile("source/dir/file", "text");
  MirrorAll();
  const Name name = NameOf("source/dir/file");
  Remove("source/dir/file");
  EXPECT_THAT(LookAtName(name).nodes, UnorderedElementsAre(Key(name.dir)));
}

TEST_P(LookerTest, AllNamesOfAKnownNodeAreLookedAt) {
  WriteFile("source/one", "text");
  Link("source/one", "source/two");
  MakeDirectory("source/dir");
  Link("source/one", "source/dir/three");
  MirrorAll();
  const FileId id = IdOf("source/one");
  Remove("source/two");
  const plan::Facts facts = LookAtName(NameOf("source/one"));
  EXPECT_EQ(Meaning(facts, NameOf("source/one")), id);
  EXPECT_EQ(Meaning(facts, {tree_->root(), "two"}), std::nullopt);
  EXPECT_EQ(Meaning(facts, NameOf("source/dir/three")), id);
}

TEST_P(LookerTest, ANodeThatIsReplacedKeepsItsOtherNames) {
  WriteFile("source/one", "text");
  Link("source/one", "source/two");
  MirrorAll();
  const FileId id = IdOf("source/one");
  WriteFile("source/fresh", "another");
  Rename("source/fresh", "source/one");
  const plan::Facts facts = LookAtName(NameOf("source/one"));
  EXPECT_EQ(Meaning(facts, NameOf("source/one")), IdOf("source/one"));
  EXPECT_EQ(Meaning(facts, NameOf("source/two")), id);
  EXPECT_THAT(facts.fates, IsEmpty());
}

TEST_P(LookerTest, WhatIsRemovedIsGone) {
  WriteFile("source/file", "text");
  MirrorAll();
  const Name name = NameOf("source/file");
  const FileId id = IdOf("source/file");
  Remove("source/file");
  const plan::Facts facts = LookAtName(name);
  EXPECT_EQ(Meaning(facts, name), std::nullopt);
  EXPECT_THAT(facts.fates, UnorderedElementsAre(Pair(id, Fate::kGone)));
}

TEST_P(LookerTest, ADirectoryThatIsMovedOutIsOutside) {
  MakeDirectory("source/dir");
  WriteFile("source/dir/file", "text");
  MirrorAll();
  const Name name = NameOf("source/dir");
  const FileId id = IdOf("source/dir");
  Rename("source/dir", "outside/dir");
  const plan::Facts facts = LookAtName(name);
  EXPECT_EQ(Meaning(facts, name), std::nullopt);
  EXPECT_THAT(facts.fates, UnorderedElementsAre(Pair(id, Fate::kOutside)));
}

// Whatever was told of in it: the entry that is looked at first must not be tried where it is not any more.
TEST_P(LookerTest, WhatIsInADirectoryThatIsMovedOutTakesItAlong) {
  for (const char* dir : {"source/dir", "source/dir/sub", "source/cache"}) MakeDirectory(dir);
  WriteFile("source/dir/sub/file", "text");
  MirrorAll();
  Exclude("- /cache/");
  const Name top = NameOf("source/dir");
  const FileId id = IdOf("source/dir");
  const Name file = NameOf("source/dir/sub/file");
  const FileId file_id = IdOf("source/dir/sub/file");
  for (const std::string to : {"outside/dir", "source/cache/dir"}) {
    Rename("source/dir", to);
    WriteFile(to + "/sub/file", "other text");
    for (const Change& told : {Change{Change::Kind::kName, file.dir, file.name}, plan::NodeChange(file_id), plan::NodeChange(file.dir),
                               plan::NodeChange(id)}) {
      const plan::Facts facts = Look({told});
      EXPECT_EQ(Meaning(facts, top), std::nullopt) << to;
      EXPECT_THAT(facts.fates, Contains(Pair(id, Fate::kOutside)));
      EXPECT_THAT(facts.nodes, Not(Contains(Key(file_id))));
      EXPECT_THAT(facts.nodes, Not(Contains(Key(id))));
      EXPECT_EQ(facts.content.contains(file_id), told == plan::NodeChange(file_id));  // it may have another name
    }
    Rename(to, "source/dir");
  }
}

// The kernel does not tell where a file lies that has no name below the root.
TEST_P(LookerTest, AFileThatLivesSomewhereIsUnknownUntilItsTimeInLimboIsOver) {
  WriteFile("source/file", "text");
  MirrorAll();
  const Name name = NameOf("source/file");
  const FileId id = IdOf("source/file");
  Rename("source/file", "outside/file");
  EXPECT_THAT(LookAtName(name).fates, UnorderedElementsAre(Pair(id, Fate::kUnknown)));

  expected_.Apply(2, {Effect::Kind::kMoveName, id, name, plan::LimboName(id), {}});
  for (const bool over : {false, true}) {
    Looker looker = MakeLooker();
    looker.Add(plan::LimboChange(id), over);
    looker.Close();
    EXPECT_THAT(looker.facts().fates, UnorderedElementsAre(Pair(id, over ? Fate::kOutside : Fate::kUnknown)));
    EXPECT_THAT(looker.facts().limbo, UnorderedElementsAre(id));
  }
}

TEST_P(LookerTest, WhatTurnsUpLeavesLimbo) {
  WriteFile("source/file", "text");
  MirrorAll();
  const FileId id = IdOf("source/file");
  expected_.Apply(2, {Effect::Kind::kMoveName, id, NameOf("source/file"), plan::LimboName(id), {}});
  Rename("source/file", "source/found");
  Looker looker = MakeLooker();
  looker.Add(plan::LimboChange(id), /*limbo_is_over=*/true);
  looker.Close();
  EXPECT_EQ(Meaning(looker.facts(), NameOf("source/found")), id);
  EXPECT_THAT(looker.facts().fates, IsEmpty());
}

TEST_P(LookerTest, AllBelowADirectoryThatIsGoneHasItsFateTold) {
  MakeDirectory("source/dir");
  MakeDirectory("source/dir/sub");
  WriteFile("source/dir/sub/file", "text");
  WriteFile("source/dir/sub/kept", "text");
  MirrorAll();
  const Name name = NameOf("source/dir");
  const FileId dir = IdOf("source/dir");
  const FileId sub = IdOf("source/dir/sub");
  const FileId file = IdOf("source/dir/sub/file");
  const FileId kept = IdOf("source/dir/sub/kept");
  Rename("source/dir/sub/kept", "source/kept");
  Remove("source/dir");
  const plan::Facts facts = LookAtName(name);
  EXPECT_THAT(facts.fates,
              UnorderedElementsAre(Pair(dir, Fate::kGone), Pair(sub, Fate::kGone), Pair(file, Fate::kGone)));
  EXPECT_EQ(Meaning(facts, NameOf("source/kept")), kept);
}

TEST_P(LookerTest, AFileThatMovedIntoANewDirectoryIsFoundThereAtOnce) {
  WriteFile("source/file", "text");
  MirrorAll();
  const Name before = NameOf("source/file");
  const FileId id = IdOf("source/file");
  MakeDirectory("source/new");
  MakeDirectory("source/new/deep");
  Rename("source/file", "source/new/deep/file");
  for (const Name& told : {before, NameOf("source/new/deep/file")}) {
    Looker looker = MakeLooker();
    looker.Add({Change::Kind::kName, told.dir, told.name}, /*limbo_is_over=*/false);
    looker.Close();
    const plan::Facts& facts = looker.facts();
    EXPECT_EQ(Meaning(facts, before), std::nullopt);
    EXPECT_EQ(Meaning(facts, NameOf("source/new")), IdOf("source/new"));
    EXPECT_EQ(Meaning(facts, NameOf("source/new/deep")), IdOf("source/new/deep"));
    EXPECT_EQ(Meaning(facts, NameOf("source/new/deep/file")), id);
    EXPECT_THAT(facts.fates, IsEmpty());
    // Whatever else is in them must be found, too.
    EXPECT_THAT(looker.new_trees(), ElementsAre(IdOf("source/new"), IdOf("source/new/deep")));
  }
}

TEST_P(LookerTest, AMovedDirectoryIsListedOnlyWhereItsPlaceDecidesWhatIsExcludedBelow) {
  for (const char* dir : {"source/a", "source/a/b", "source/a/b/dir", "source/c"}) MakeDirectory(dir);
  WriteFile("source/a/b/dir/file", "text");
  MirrorAll();
  Rename("source/a/b/dir", "source/c/dir");
  const Name told = NameOf("source/c/dir");
  for (const auto& [rule, listed] : std::vector<std::pair<std::string, bool>>{
           {"- *.tmp", false}, {"- /x/", false}, {"- /c/x", false}, {"- /c/dir/x", true}, {"- dir/x", true}}) {
    Exclude(rule);
    Looker looker = MakeLooker();
    looker.Add({Change::Kind::kName, told.dir, told.name}, /*limbo_is_over=*/false);
    looker.Close();
    const std::vector<FileId>& trees = looker.new_trees();
    EXPECT_EQ(std::count(trees.begin(), trees.end(), IdOf("source/c/dir")), listed ? 1 : 0) << rule;
  }
}

TEST_P(LookerTest, OnlyTheScanOfAStartSeesThatAnEntryIsExcludedNow) {
  WriteFile("source/a.tmp", "text");
  MirrorAll();
  Exclude("- *.tmp");
  const Name name = NameOf("source/a.tmp");
  for (const bool startup : {true, false}) {
    Looker looker = MakeLooker();
    looker.AddListed(tree_->root(), {}, startup);
    looker.Close();
    EXPECT_EQ(Meaning(looker.facts(), name), std::nullopt);
    EXPECT_EQ(looker.facts().names.at(name).excluded, startup);
    EXPECT_EQ(looker.facts().names.at(name).startup, startup);
  }
}

TEST_P(LookerTest, AnotherNodeUnderAnExcludedNameIsNotTheOneThatTheTargetHas) {
  WriteFile("source/a.tmp", "text");
  MirrorAll();
  Exclude("- *.tmp");
  WriteFile("source/b.tmp", "another");
  Rename("source/b.tmp", "source/a.tmp");
  Looker looker = MakeLooker();
  looker.AddListed(tree_->root(), {}, /*startup=*/true);
  looker.Close();
  EXPECT_FALSE(looker.facts().names.at(NameOf("source/a.tmp")).excluded);
}

TEST_P(LookerTest, WhatMovesToAnExcludedPlaceIsAbsent) {
  WriteFile("source/file", "text");
  MakeDirectory("source/dir");
  MirrorAll();
  Exclude("- *.tmp");
  const Name file = NameOf("source/file");
  const Name dir = NameOf("source/dir");
  const FileId file_id = IdOf("source/file");
  const FileId dir_id = IdOf("source/dir");
  Rename("source/file", "source/file.tmp");
  Rename("source/dir", "source/dir.tmp");
  const plan::Facts facts =
      Look({Change{Change::Kind::kName, file.dir, "file"}, Change{Change::Kind::kName, file.dir, "file.tmp"},
            Change{Change::Kind::kName, dir.dir, "dir"}, Change{Change::Kind::kName, dir.dir, "dir.tmp"}});
  EXPECT_EQ(Meaning(facts, file), std::nullopt);
  EXPECT_EQ(Meaning(facts, dir), std::nullopt);
  EXPECT_THAT(facts.names, Not(Contains(Key(Name{tree_->root(), "file.tmp"}))));
  EXPECT_THAT(facts.names, Not(Contains(Key(Name{tree_->root(), "dir.tmp"}))));
  EXPECT_THAT(facts.fates, UnorderedElementsAre(Pair(file_id, Fate::kOutside), Pair(dir_id, Fate::kOutside)));
}

TEST_P(LookerTest, WhatTheTargetDoesNotHaveIsNotLookedAtByItsNode) {
  MirrorAll();
  WriteFile("source/new", "text");
  WriteFile("outside/other", "text");
  MakeDirectory("outside/dir");
  EXPECT_THAT(Look({plan::NodeChange(IdOf("source/new")), plan::NodeChange(IdOf("outside/other"))}).nodes,
              IsEmpty());
  EXPECT_THAT(LookAtName(NameOf("outside/other")).names, IsEmpty());
  EXPECT_THAT(LookAtName({IdOf("outside/dir"), "none"}).names, IsEmpty());
}

TEST_P(LookerTest, AWriteIsToldAsSuch) {
  WriteFile("source/written", "text");
  WriteFile("source/touched", "text");
  MirrorAll();
  const FileId written = IdOf("source/written");
  const FileId touched = IdOf("source/touched");
  const plan::Facts facts = Look({plan::NodeChange(written), Change{Change::Kind::kNode, touched, ""}});
  EXPECT_THAT(facts.nodes, UnorderedElementsAre(Key(written), Key(touched)));
  EXPECT_THAT(facts.content, UnorderedElementsAre(written));
}

TEST_P(LookerTest, AWalkTakesUpOnlyWhatDiffers) {
  WriteFile("source/same", "text");
  WriteFile("source/other", "text");
  MirrorAll();
  ASSERT_EQ(::chmod(At("source/other").c_str(), 0600), 0);
  Looker looker = MakeLooker();
  const auto found = [&](const std::string& name) {
    return scan::Found{{tree_->root(), name}, name, *TreeTest::Look(name)};
  };
  EXPECT_FALSE(looker.AddFound(found("same"), /*startup=*/true, /*stale=*/false));
  EXPECT_TRUE(looker.AddFound(found("other"), /*startup=*/true, /*stale=*/false));
  looker.AddListed(tree_->root(), {HashName("same"), HashName("other")}, /*startup=*/true);
  looker.Close();
  EXPECT_THAT(looker.facts().names, UnorderedElementsAre(Key(NameOf("source/other"))));
  EXPECT_THAT(looker.facts().suspect, UnorderedElementsAre(IdOf("source/other")));
}

TEST_P(LookerTest, WhatAWalkFoundBeforeALaterLookIsLookedAtAgain) {
  for (const char* name : {"moved", "gone", "changed"}) WriteFile(absl::StrCat("source/", name), "text");
  std::vector<scan::Found> found;
  for (const char* name : {"moved", "gone", "changed"}) {
    found.push_back({{tree_->root(), name}, name, *TreeTest::Look(name)});
  }
  Rename("source/moved", "source/there");
  Remove("source/gone");
  ASSERT_EQ(::chmod(At("source/changed").c_str(), 0600), 0);
  MirrorAll();
  Looker looker = MakeLooker();
  for (const scan::Found& each : found) EXPECT_TRUE(looker.AddFound(each, /*startup=*/false, /*stale=*/true));
  looker.Close();
  for (const char* name : {"moved", "gone"}) EXPECT_FALSE(looker.facts().names.at({tree_->root(), name}).node) << name;
  EXPECT_EQ(looker.facts().names.at({tree_->root(), "changed"}).node->metadata.mode, 0600);
  EXPECT_TRUE(looker.looked());
}

TEST_P(LookerTest, ADirectoryThatCannotBeListedLosesNothing) {
  MakeDirectory("source/dir");
  WriteFile("source/dir/file", "text");
  MirrorAll();
  Looker looker = MakeLooker();
  looker.AddUnreadable(tree_->root(), "dir", model::Failure(model::Reaction::kRetry, "broken"));
  looker.Close();
  EXPECT_THAT(looker.facts().names, IsEmpty());
  EXPECT_THAT(looker.facts().fates, IsEmpty());
  ASSERT_THAT(looker.failed(), SizeIs(1));
  EXPECT_EQ(looker.failed()[0].change.kind, Change::Kind::kTree);
  EXPECT_EQ(model::ReactionOf(looker.failed()[0].status), model::Reaction::kRetry);
}

class LookerOfAFailingSourceTest : public LookerTest {
 protected:
  // With nothing of it in memory: each look at what is not there any more is an error.
  void FailFromNowOn() {
    tree_.reset();
    ASSERT_TRUE(filesystem_->Unmount().ok());
    ASSERT_TRUE(filesystem_->Mount().ok());
    OpenTree(At("source"));
    ASSERT_TRUE(filesystem_->ShutDown().ok());
  }
};
INSTANTIATE_TEST_SUITE_P(On, LookerOfAFailingSourceTest, ::testing::Values("ext4"),
                         [](const auto& instance) { return instance.param; });

// Even what is gone is not concluded to be, while the filesystem cannot be believed.
TEST_P(LookerOfAFailingSourceTest, AnErrorIsNeverAbsence) {
  MakeDirectory("source/dir");
  WriteFile("source/file", "text");
  MirrorAll();
  const Name name = NameOf("source/file");
  const Name dir = NameOf("source/dir");
  const FileId file = IdOf("source/file");
  Remove("source/dir");
  Remove("source/file");
  ASSERT_NO_FATAL_FAILURE(FailFromNowOn());

  Looker looker = MakeLooker();
  for (const Name& each : {name, dir}) looker.Add(plan::NameChange(each), /*limbo_is_over=*/false);
  looker.Add(plan::NodeChange(file), /*limbo_is_over=*/false);
  looker.Close();
  EXPECT_THAT(looker.failed(), SizeIs(3));
  EXPECT_THAT(looker.facts().names, IsEmpty());
  EXPECT_THAT(looker.facts().fates, IsEmpty());
}

// It would stay there for ever if only its name was looked at again, which is none of the source's.
TEST_P(LookerOfAFailingSourceTest, WhatIsInLimboIsAskedAfterAgain) {
  WriteFile("source/file", "text");
  MirrorAll();
  const FileId file = IdOf("source/file");
  expected_.Apply(2, {Effect::Kind::kMoveName, file, NameOf("source/file"), plan::LimboName(file), {}});
  Remove("source/file");
  ASSERT_NO_FATAL_FAILURE(FailFromNowOn());

  Looker looker = MakeLooker();
  looker.Add(plan::LimboChange(file), /*limbo_is_over=*/true);
  looker.Close();
  ASSERT_THAT(looker.failed(), SizeIs(1));
  EXPECT_EQ(looker.failed()[0].change, plan::LimboChange(file));
  EXPECT_THAT(looker.facts().limbo, IsEmpty());
}

}  // namespace
}  // namespace fanmirror::replicate
