#include "replicate/learner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "apply/listing.h"
#include "apply/root.h"
#include "model/failure.h"
#include "model/path.h"
#include "os/testing/tree_fixture.h"
#include "plan/compare.h"
#include "plan/paths.h"
#include "plan/planner.h"

namespace fanmirror::replicate {
namespace {

using model::Change;
using model::FileId;
using model::Name;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

Change TreeChangeOf(const FileId& dir) { return {Change::Kind::kTree, dir, ""}; }

// A source, and a target directory beside it that is listed as a receiver does.
class LearnerTest : public os::testing::TreeTest {
 protected:
  void SetUp() override {
    TreeTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    MakeDirectory("target");
    MakeDirectory("target/.fanmirror");
    MakeDirectory("target/.fanmirror/limbo");
    auto root = apply::Root::Open(At("target"));
    ASSERT_TRUE(root.ok()) << root.status();
    root_ = *std::move(root);
    auto state = os::testing::ScopedDirectory::Create();
    ASSERT_TRUE(state.ok()) << state.status();
    state_ = *std::move(state);
    auto catalogue = catalogue::Catalogue::Open(state_->path() + "/catalogue");
    ASSERT_TRUE(catalogue.ok()) << catalogue.status();
    catalogue_ = *std::move(catalogue);
  }
  // Both sides get the file with the same times.
  void WriteBoth(const std::string& path, const std::string& text) {
    WriteFile("source/" + path, text);
    WriteFile("target/" + path, text);
    SetTime("source/" + path, 1'000'000);
    SetTime("target/" + path, 1'000'000);
  }
  void MakeBoth(const std::string& path) {
    MakeDirectory("source/" + path);
    MakeDirectory("target/" + path);
  }
  void SetTime(const std::string& path, time_t seconds) {
    const timespec times[2] = {{seconds, 0}, {seconds, 0}};
    ASSERT_EQ(::utimensat(AT_FDCWD, At(path).c_str(), times, AT_SYMLINK_NOFOLLOW), 0) << path;
  }
  void Link(const std::string& from, const std::string& to) {
    ASSERT_EQ(::link(At(from).c_str(), At(to).c_str()), 0) << to;
  }
  void Remove(const std::string& path) { ASSERT_GT(std::filesystem::remove_all(At(path)), 0U) << path; }

  Learner MakeLearner() {
    return Learner(
        tree_.get(), &selection_, catalogue_.get(),
        [this](const std::string& path, bool children) {
          listed_.insert(path);
          asked_.push_back({.id = 1, .path = path, .children = children});
          most_ahead_ = std::max(most_ahead_, asked_.size());
        },
        [this](const std::function<absl::Status(const wire::Listing&)>& frame) { return Answer(frame); },
        [this](absl::Span<const Change> changes) {
          noted_.insert(noted_.end(), changes.begin(), changes.end());
          return note_;
        });
  }
  // The far side of a long line: all that was asked before the first answer arrives with it, in one round trip.
  absl::Status Answer(const std::function<absl::Status(const wire::Listing&)>& frame) {
    if (arrived_ == 0) {
      ++round_trips_;
      arrived_ = asked_.size();
    }
    const wire::List list = asked_.front();
    asked_.pop_front();
    --arrived_;
    root_->ForgetAll();
    return apply::ListPlace(root_.get(), list, frame);
  }
  std::vector<Change> LearnAll() {
    Learner learner = MakeLearner();
    const absl::Status status = learner.LearnAll();
    EXPECT_TRUE(status.ok()) << status;
    return std::exchange(noted_, {});
  }
  std::vector<Change> LearnPlace(const std::string& path, bool recursive) {
    listed_.clear();
    Learner learner = MakeLearner();
    const absl::Status status = learner.LearnPlaces({{path, recursive}});
    EXPECT_TRUE(status.ok()) << status;
    return std::exchange(noted_, {});
  }
  // What the catalogue has at a path; the empty id: nothing.
  FileId Known(const std::string& path) {
    FileId at = tree_->root();
    for (const auto& component : std::filesystem::path(path)) {
      at = catalogue_->Child({at, component.string()}).value_or(FileId());
    }
    return at;
  }
  FileId Source(const std::string& path) { return IdOf("source/" + path); }

  std::unique_ptr<apply::Root> root_;
  std::unique_ptr<os::testing::ScopedDirectory> state_;
  std::unique_ptr<catalogue::Catalogue> catalogue_;
  scan::Selection selection_;
  std::set<std::string> listed_;  // paths
  std::deque<wire::List> asked_;  // and not answered
  std::size_t arrived_ = 0;       // of asked_: their answers are here
  std::size_t most_ahead_ = 0;
  int round_trips_ = 0;
  std::vector<Change> noted_;
  absl::Status note_;  // what noting comes to
};

INSTANTIATE_TEST_SUITE_P(On, LearnerTest, ::testing::Values("tmpfs", "ext4"),
                         [](const auto& instance) { return instance.param; });

TEST_P(LearnerTest, AdoptsWhatHasTheSameSizeAndTime) {
  MakeBoth("dir");
  WriteBoth("dir/same", "text");
  WriteBoth("dir/longer", "text");
  WriteFile("target/dir/longer", "more text");
  SetTime("target/dir/longer", 1'000'000);
  WriteBoth("dir/older", "text");
  SetTime("target/dir/older", 999'999);
  const auto changes = LearnAll();

  EXPECT_EQ(Known("dir"), Source("dir"));
  EXPECT_EQ(Known("dir/same"), Source("dir/same"));
  EXPECT_TRUE(Known("dir/longer").is_foreign());
  EXPECT_TRUE(Known("dir/older").is_foreign());
  const auto record = catalogue_->Node(Source("dir/same"));
  ASSERT_TRUE(record.has_value());
  EXPECT_TRUE(plan::IsAdopted(*record));
  EXPECT_FALSE(record->content_known);
  EXPECT_THAT(changes, Contains(TreeChangeOf(tree_->root())));
  EXPECT_THAT(changes, Contains(TreeChangeOf(Source("dir"))));
}

// After ops of unknown outcome equal size and mtime prove nothing of what changed since the catalogue was sure.
TEST_P(LearnerTest, WhatChangedSinceTheCatalogueWasSureIsNotTakenForTheSame) {
  for (const char* name : {"same", "rewritten", "racy", "new", "adopted"}) WriteBoth(name, "text");
  LearnAll();
  const auto sure = [&](const std::string& name, bool racy) {
    catalogue::Effect effect{.kind = catalogue::Effect::Kind::kSetNode, .id = Source(name), .name = {}, .to = {}, .record = {}};
    effect.record = {.metadata = tree_->LookNode(Source(name)).value()->metadata, .content = {}, .content_known = false, .racy = racy};
    ASSERT_TRUE(catalogue_->Commit(1, {effect}).ok());
  };
  sure("same", false);
  sure("rewritten", false);
  sure("racy", true);
  ASSERT_TRUE(catalogue_->Commit(1, {{.kind = catalogue::Effect::Kind::kDropName, .id = {}, .name = {tree_->root(), "new"}, .to = {}, .record = {}}}).ok());
  const auto before = tree_->LookNode(Source("rewritten")).value()->metadata.ctime;
  do {  // a ctime of another tick
    WriteFile("source/rewritten", "next");
    SetTime("source/rewritten", 1'000'000);
  } while (tree_->LookNode(Source("rewritten")).value()->metadata.ctime == before);

  const Learner::Vouched vouched = Learner::VouchedBy(*catalogue_, tree_->root());
  Learner learner = MakeLearner();
  ASSERT_TRUE(learner.LearnAll(&vouched).ok());
  EXPECT_EQ(Known("same"), Source("same"));
  EXPECT_EQ(Known("adopted"), Source("adopted"));
  for (const char* name : {"rewritten", "racy", "new"}) EXPECT_TRUE(Known(name).is_foreign()) << name;
}

TEST_P(LearnerTest, WhatTheSourceDoesNotHaveIsForeign) {
  MakeDirectory("target/extra");
  WriteFile("target/extra/file", "text");
  WriteFile("source/kind", "text");
  MakeDirectory("target/kind");
  WriteFile("target/kind/file", "text");
  ASSERT_EQ(::symlink("there", At("source/link").c_str()), 0);
  ASSERT_EQ(::symlink("elsewhere", At("target/link").c_str()), 0);
  WriteFile("source/only-there", "text");
  LearnAll();
  for (const char* path : {"extra", "extra/file", "kind", "kind/file", "link"}) {
    EXPECT_TRUE(Known(path).is_foreign()) << path;
  }
  EXPECT_EQ(Known("only-there"), FileId());
  EXPECT_NE(Known("extra/file"), Known("kind/file"));
  EXPECT_EQ(Known(".fanmirror"), FileId());
}

TEST_P(LearnerTest, GroupsOfNamesAreAdoptedWhereBothSidesHaveThem) {
  for (const std::string side : {"source/", "target/"}) {
    WriteFile(side + "a1", "text");
    Link(side + "a1", side + "a2");
    SetTime(side + "a1", 1'000'000);
  }
  // One node at the source, two at the target; and the other way round.
  WriteFile("source/b1", "text");
  Link("source/b1", "source/b2");
  WriteFile("target/b1", "text");
  WriteFile("target/b2", "text");
  WriteFile("target/c1", "text");
  Link("target/c1", "target/c2");
  WriteFile("source/c1", "text");
  WriteFile("source/c2", "text");
  for (const char* each : {"source/b1", "target/b1", "target/b2", "target/c1", "source/c1", "source/c2"}) {
    SetTime(each, 1'000'000);
  }
  LearnAll();
  EXPECT_EQ(Known("a1"), Source("a1"));
  EXPECT_EQ(Known("a2"), Source("a1"));
  EXPECT_NE(Known("b1") == Source("b1"), Known("b2") == Source("b1"));  // one of them
  EXPECT_NE(Known("b1").is_foreign(), Known("b2").is_foreign());
  EXPECT_NE(Known("c1") == Source("c1"), Known("c2") == Source("c2"));
  EXPECT_NE(Known("c1").is_foreign(), Known("c2").is_foreign());
}

TEST_P(LearnerTest, WhatIsExcludedIsNotLearnt) {
  const auto rules = select::ParseFilterLine("- *.tmp");
  ASSERT_TRUE(rules.ok());
  selection_.filter = *select::Filter::Compile(*rules);
  selection_.ignored = {"ignored"};
  WriteBoth("a.tmp", "text");
  MakeBoth("ignored");
  WriteBoth("ignored/file", "text");
  MakeDirectory("target/dir.tmp");
  WriteFile("target/dir.tmp/file", "text");
  WriteBoth("kept", "text");
  LearnAll();
  std::vector<std::string> names;
  catalogue_->ForEachChild(tree_->root(), [&](const std::string& name, const FileId&) {
    names.push_back(name);
    return true;
  });
  EXPECT_THAT(names, ElementsAre("kept"));
  EXPECT_THAT(listed_, UnorderedElementsAre("", ".fanmirror/limbo"));
}

TEST_P(LearnerTest, WhatLiesInLimboIsKnownByItsName) {
  WriteFile("source/file", "text");
  const FileId id = Source("file");
  const std::string name = plan::LimboName(id).name;
  WriteFile("target/.fanmirror/limbo/" + name, "text");
  WriteFile("target/.fanmirror/limbo/stray", "text");
  LearnAll();
  EXPECT_EQ(catalogue_->Child(plan::LimboName(id)), id);
  EXPECT_EQ(catalogue_->Child({FileId::Limbo(), "stray"}), std::nullopt);
}

// Set aside by a batch of unknown outcome, like what was put below it before: the places of those puts lead nowhere any more.
TEST_P(LearnerTest, WhatCameIntoADirectoryBeforeItWentToLimboIsFoundThere) {
  MakeBoth("dir");
  MakeBoth("dir/sub");
  WriteBoth("dir/sub/known", "text");
  WriteBoth("dir/sub/gone", "text");
  LearnAll();
  const FileId dir = Source("dir");
  const FileId sub = Source("dir/sub");
  WriteBoth("dir/sub/came", "text");
  Remove("target/dir/sub/gone");
  const std::string name = plan::LimboName(dir).name;
  Rename("target/dir", "target/.fanmirror/limbo/" + name);
  Learner learner = MakeLearner();
  const absl::Status status = learner.LearnPlaces({{model::JoinPath(plan::kLimboPath, name), true},
                                                   {"dir", true},
                                                   {"dir/sub/came", false},
                                                   {"dir/sub/gone", false}});
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(Known("dir"), FileId());
  EXPECT_EQ(catalogue_->Child(plan::LimboName(dir)), dir);
  EXPECT_EQ(catalogue_->Child({dir, "sub"}), sub);
  EXPECT_EQ(catalogue_->Child({sub, "known"}), Source("dir/sub/known"));
  EXPECT_EQ(catalogue_->Child({sub, "came"}), Source("dir/sub/came"));
  EXPECT_EQ(catalogue_->Child({sub, "gone"}), std::nullopt);
}

TEST_P(LearnerTest, LearningAnewForgetsWhatIsNoLongerThere) {
  WriteBoth("one", "text");
  WriteBoth("two", "text");
  LearnAll();
  ASSERT_EQ(Known("one"), Source("one"));
  Remove("target/one");
  LearnAll();
  EXPECT_EQ(Known("one"), FileId());
  EXPECT_EQ(catalogue_->Node(Source("one")), std::nullopt);
  EXPECT_EQ(Known("two"), Source("two"));
}

TEST_P(LearnerTest, APlaceIsCorrectedAndLookedAt) {
  MakeBoth("dir");
  WriteBoth("dir/gone", "text");
  WriteBoth("dir/came", "text");
  WriteBoth("dir/kept", "text");
  Remove("target/dir/came");
  LearnAll();
  ASSERT_EQ(Known("dir/gone"), Source("dir/gone"));
  ASSERT_EQ(Known("dir/came"), FileId());

  Remove("target/dir/gone");
  WriteFile("target/dir/came", "text");
  SetTime("target/dir/came", 1'000'000);
  EXPECT_THAT(LearnPlace("dir/gone", false), ElementsAre(plan::NameChange({Source("dir"), "gone"})));
  EXPECT_EQ(Known("dir/gone"), FileId());
  EXPECT_EQ(catalogue_->Node(Source("dir/gone")), std::nullopt);
  // Its content is in doubt, under whichever name.
  EXPECT_THAT(LearnPlace("dir/came", false),
              UnorderedElementsAre(plan::NameChange({Source("dir"), "came"}), plan::NodeChange(Source("dir/came"))));
  EXPECT_EQ(Known("dir/came"), Source("dir/came"));
  EXPECT_EQ(Known("dir/kept"), Source("dir/kept"));
  EXPECT_THAT(listed_, UnorderedElementsAre("dir/came"));
}

TEST_P(LearnerTest, ADirectoryIsLearntWithWhatIsInItOnlyWhenAsked) {
  MakeBoth("dir");
  MakeBoth("dir/sub");
  WriteBoth("dir/sub/file", "text");
  LearnAll();
  Remove("target/dir/sub/file");
  EXPECT_THAT(LearnPlace("dir", false), UnorderedElementsAre(plan::NameChange({tree_->root(), "dir"}),
                                                             plan::NodeChange(Source("dir"))));
  EXPECT_EQ(Known("dir/sub/file"), Source("dir/sub/file"));
  const auto changes = LearnPlace("dir", true);
  EXPECT_EQ(Known("dir/sub"), Source("dir/sub"));
  EXPECT_EQ(Known("dir/sub/file"), FileId());
  EXPECT_THAT(changes, UnorderedElementsAre(plan::NameChange({tree_->root(), "dir"}),
                                            TreeChangeOf(Source("dir")), TreeChangeOf(Source("dir/sub"))));
}

TEST_P(LearnerTest, AMoveOfUnknownOutcomeIsFoundOnEitherSide) {
  MakeBoth("from");
  WriteBoth("from/file", "text");
  LearnAll();
  const FileId dir = Source("from");
  Rename("source/from", "source/to");
  Rename("target/from", "target/to");  // it was applied, and the catalogue does not know
  LearnPlace("from", true);
  LearnPlace("to", true);
  EXPECT_EQ(Known("from"), FileId());
  EXPECT_EQ(Known("to"), dir);
  EXPECT_EQ(Known("to/file"), Source("to/file"));
}

TEST_P(LearnerTest, TheRootIsAskedAfterByItself) {
  LearnAll();
  EXPECT_THAT(LearnPlace("", false), ElementsAre(plan::NodeChange(tree_->root())));
  EXPECT_THAT(listed_, IsEmpty());
}

TEST_P(LearnerTest, ATargetThatCannotBeListedIsNotTakenForEmpty) {
  WriteBoth("file", "text");
  LearnAll();
  Learner learner(tree_.get(), &selection_, catalogue_.get(),
                  [](const std::string&, bool) {},
                  [](const std::function<absl::Status(const wire::Listing&)>&) {
                    return model::Failure(model::Reaction::kReconnect, "broken");
                  },
                  [](absl::Span<const Change>) { return absl::OkStatus(); });
  EXPECT_FALSE(learner.LearnPlaces({{"file", false}}).ok());
  EXPECT_EQ(Known("file"), Source("file"));
  EXPECT_FALSE(learner.LearnAll().ok());
}

// A receiver takes a question about it for a broken conversation, and the connection would end for it again and again.
TEST_P(LearnerTest, APlaceThatNoMessageCanNameIsNotAskedFor) {
  WriteBoth("file", "text");
  std::string deep = "d";
  while (deep.size() <= wire::kMaxPathBytes) deep += "/d";
  Learner learner = MakeLearner();
  const absl::Status status = learner.LearnPlaces({{deep, true}, {"file", false}});
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(listed_, std::set<std::string>{"file"});
  EXPECT_EQ(Known("file"), Source("file"));
}

TEST_P(LearnerTest, ManyPlacesCostFewRoundTrips) {
  constexpr std::size_t kFiles = 1'500;
  MakeBoth("dir");
  LearnAll();
  std::map<std::string, bool> places;
  for (std::size_t i = 0; i < kFiles; ++i) {
    const std::string path = "dir/" + std::to_string(i);
    if (i % 3 != 0) WriteBoth(path, "text");
    places[path] = false;
  }
  round_trips_ = 0;
  most_ahead_ = 0;
  Learner learner = MakeLearner();
  const absl::Status status = learner.LearnPlaces(places);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(round_trips_, static_cast<int>(kFiles / Learner::kMostAhead + 1));
  EXPECT_LE(most_ahead_, Learner::kMostAhead);
  EXPECT_EQ(noted_.size(), kFiles + kFiles * 2 / 3);
  for (std::size_t i = 0; i < kFiles; ++i) {
    const std::string path = "dir/" + std::to_string(i);
    EXPECT_EQ(Known(path), i % 3 != 0 ? Source(path) : FileId()) << path;
  }
}

TEST_P(LearnerTest, ManyDirectoriesCostFewRoundTrips) {
  constexpr int kDirectories = 800;
  for (int i = 0; i < kDirectories; ++i) {
    const std::string dir = "dir" + std::to_string(i);
    MakeBoth(dir);
    WriteBoth(dir + "/file", dir);
    if (i % 7 == 0) MakeBoth(dir + "/below");
  }
  LearnAll();
  EXPECT_LE(round_trips_, 30);  // asked one by one: 916
  EXPECT_LE(most_ahead_, Learner::kMostAhead);
  for (int i = 0; i < kDirectories; ++i) {
    const std::string path = "dir" + std::to_string(i) + (i % 7 == 0 ? "/below" : "/file");
    EXPECT_EQ(Known(path), Source(path)) << path;
  }
}

// Places below one that is listed whole in the same call: what was asked ahead is answered in its order.
TEST_P(LearnerTest, PlacesBelowARecursiveOneKeepTheirAnswers) {
  MakeBoth("a");
  LearnAll();
  std::map<std::string, bool> places{{"a", true}};
  for (int i = 0; i < 40; ++i) {
    const std::string path = "a/" + std::to_string(i);
    MakeBoth(path);
    WriteBoth(path + "/file", path);
    places[path + "/file"] = false;
    places["b/not there/" + std::to_string(i)] = false;
  }
  WriteBoth("z", "text");
  places["z"] = false;
  Learner learner = MakeLearner();
  const absl::Status status = learner.LearnPlaces(places);
  ASSERT_TRUE(status.ok()) << status;
  for (int i = 0; i < 40; ++i) {
    const std::string path = "a/" + std::to_string(i) + "/file";
    EXPECT_EQ(Known(path), Source(path)) << path;
  }
  EXPECT_EQ(Known("z"), Source("z"));
}

TEST_P(LearnerTest, NothingIsCorrectedBeforeItIsNoted) {
  WriteBoth("file", "text");
  LearnAll();
  Remove("target/file");
  note_ = model::Failure(model::Reaction::kRetry, "no room");
  Learner learner = MakeLearner();
  EXPECT_FALSE(learner.LearnPlaces({{"file", false}}).ok());
  EXPECT_EQ(Known("file"), Source("file"));
  EXPECT_FALSE(MakeLearner().LearnAll().ok());
  EXPECT_EQ(Known("file"), Source("file"));
}

}  // namespace
}  // namespace fanmirror::replicate
