// The rules of View and Effect, held by all that is a View: the catalogue, the overlay on nothing, and the
// overlay on a catalogue that follows it batch by batch.

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "catalogue/view_subjects_for_test.h"

namespace fanmirror::catalogue {
namespace {

using model::FileId;
using model::Name;

template <typename T>
class ViewContract : public testing::Test {
 protected:
  void Apply(std::vector<Effect> batch) { subject.Apply(batch); }
  const View& view() const { return subject.view(); }
  std::set<Name> NamesOf(const FileId& id) const {
    const auto names = view().NamesOf(id);
    std::set<Name> out(names.begin(), names.end());
    EXPECT_EQ(out.size(), names.size()) << "a name twice";
    return out;
  }
  T subject;
  const FileId root = TestId(1), a = TestId(100), b = TestId(101), gone = TestId(102);
  const Name x{root, "x"}, y{root, "y"}, z{root, "z"};
};

using Subjects = testing::Types<CatalogueSubject, OverlaySubject, FollowedSubject>;
TYPED_TEST_SUITE(ViewContract, Subjects);

TYPED_TEST(ViewContract, RecordsComeBackWhole) {
  std::vector<Effect> batch;
  for (std::uint64_t number = 1; number < 30; ++number) batch.push_back(SetNode(TestId(number), number));
  this->Apply(batch);
  for (std::uint64_t number = 1; number < 30; ++number) {
    EXPECT_EQ(this->view().Node(TestId(number)), RecordOf(number));
  }
  EXPECT_EQ(this->view().Node(TestId(30)), std::nullopt);
}

TYPED_TEST(ViewContract, TheRootStandsWithoutAName) {
  this->Apply({SetNode(this->root, 1)});
  EXPECT_TRUE(this->view().Node(this->root));
  EXPECT_TRUE(this->NamesOf(this->root).empty());
}

TYPED_TEST(ViewContract, SetNodeKeepsTheNames) {
  this->Apply({SetNode(this->a, 1), SetName(this->x, this->a)});
  this->Apply({SetNode(this->a, 2)});
  EXPECT_EQ(this->view().Node(this->a), RecordOf(2));
  EXPECT_EQ(this->view().Child(this->x), this->a);
  EXPECT_EQ(this->NamesOf(this->a), (std::set<Name>{this->x}));
}

TYPED_TEST(ViewContract, TheLastNameTakesTheNodeWithIt) {
  this->Apply({SetNode(this->a, 1), SetName(this->x, this->a), SetName(this->y, this->a)});
  this->Apply({DropName(this->x)});
  EXPECT_TRUE(this->view().Node(this->a));
  EXPECT_EQ(this->NamesOf(this->a), (std::set<Name>{this->y}));
  this->Apply({DropName(this->y)});
  EXPECT_FALSE(this->view().Node(this->a));
  EXPECT_FALSE(this->view().Child(this->y));
  EXPECT_TRUE(Children(this->view(), this->root).empty());
}

TYPED_TEST(ViewContract, SetNameTakesTheNameFromWhomItMeant) {
  this->Apply({SetNode(this->a, 1), SetName(this->x, this->a), SetNode(this->b, 2)});
  this->Apply({SetName(this->x, this->b)});
  EXPECT_FALSE(this->view().Node(this->a));
  EXPECT_EQ(this->view().Child(this->x), this->b);
  this->Apply({SetName(this->x, this->b)});
  EXPECT_EQ(this->NamesOf(this->b), (std::set<Name>{this->x}));
}

TYPED_TEST(ViewContract, ANameForANodeWithoutARecordMeansNothing) {
  this->Apply({SetNode(this->a, 1), SetName(this->x, this->a)});
  this->Apply({SetName(this->x, this->gone), SetName(this->y, this->gone)});
  EXPECT_FALSE(this->view().Child(this->x));
  EXPECT_FALSE(this->view().Child(this->y));
  EXPECT_FALSE(this->view().Node(this->a));
  EXPECT_FALSE(this->view().Node(this->gone));
  EXPECT_TRUE(this->NamesOf(this->gone).empty());
  this->Apply({SetNode(this->gone, 1), SetName(this->y, this->gone)});
  EXPECT_EQ(this->NamesOf(this->gone), (std::set<Name>{this->y}));
}

TYPED_TEST(ViewContract, MoveKeepsTheNodeAndReplacesWhatWasThere) {
  this->Apply(
      {SetNode(this->a, 1), SetName(this->x, this->a), SetNode(this->b, 2), SetName(this->y, this->b)});
  this->Apply({MoveName(this->x, this->y)});
  EXPECT_EQ(this->view().Node(this->a), RecordOf(1));
  EXPECT_FALSE(this->view().Node(this->b));
  EXPECT_FALSE(this->view().Child(this->x));
  EXPECT_EQ(this->view().Child(this->y), this->a);
  EXPECT_EQ(this->NamesOf(this->a), (std::set<Name>{this->y}));
}

TYPED_TEST(ViewContract, MoveOntoItselfChangesNothing) {
  this->Apply({SetNode(this->a, 1), SetName(this->x, this->a)});
  this->Apply({MoveName(this->x, this->x)});
  EXPECT_EQ(this->view().Child(this->x), this->a);
  EXPECT_EQ(this->NamesOf(this->a), (std::set<Name>{this->x}));
}

TYPED_TEST(ViewContract, MoveOverAnotherNameOfTheSameNode) {
  this->Apply({SetNode(this->a, 1), SetName(this->x, this->a), SetName(this->y, this->a)});
  this->Apply({MoveName(this->x, this->y)});
  EXPECT_FALSE(this->view().Child(this->x));
  EXPECT_EQ(this->view().Node(this->a), RecordOf(1));
  EXPECT_EQ(this->NamesOf(this->a), (std::set<Name>{this->y}));
}

TYPED_TEST(ViewContract, MoveOfANameWithoutMeaningEmptiesItsGoal) {
  this->Apply({SetNode(this->a, 1), SetName(this->x, this->a)});
  this->Apply({MoveName(this->z, this->x)});
  EXPECT_FALSE(this->view().Child(this->x));
  EXPECT_FALSE(this->view().Node(this->a));
}

TYPED_TEST(ViewContract, ThreeMovesExchangeTwo) {
  this->Apply(
      {SetNode(this->a, 1), SetName(this->x, this->a), SetNode(this->b, 2), SetName(this->y, this->b)});
  this->Apply({MoveName(this->x, this->z), MoveName(this->y, this->x), MoveName(this->z, this->y)});
  EXPECT_EQ(this->view().Child(this->x), this->b);
  EXPECT_EQ(this->view().Child(this->y), this->a);
  EXPECT_FALSE(this->view().Child(this->z));
}

TYPED_TEST(ViewContract, ChildrenComeInByteOrderAndOfOneDirectoryOnly) {
  const FileId limbo = FileId::Limbo();
  const FileId short_id = *FileId::FromHandle(1, "\x01");        // its encoding must not be a prefix of
  const FileId long_id = *FileId::FromHandle(1, "\x01\x01zzz");  // this one's
  const std::string longest(255, '\xff');
  std::vector<Effect> batch = {SetNode(this->a, 1)};
  for (const FileId& dir : {short_id, long_id, limbo, FileId::Foreign(1)}) {
    for (const std::string& name : {longest, std::string("b"), std::string("\x80"), std::string("\n"),
                                    std::string("B"), std::string("ba")}) {
      batch.push_back(SetName({dir, name}, this->a));
    }
  }
  this->Apply(batch);
  for (const FileId& dir : {short_id, long_id, limbo, FileId::Foreign(1)}) {
    const std::vector<std::pair<std::string, FileId>> all = {{"\n", this->a},   {"B", this->a},
                                                             {"b", this->a},    {"ba", this->a},
                                                             {"\x80", this->a}, {longest, this->a}};
    EXPECT_EQ(Children(this->view(), dir), all) << dir.ToString();
  }
  EXPECT_EQ(this->NamesOf(this->a).size(), 24u);
  EXPECT_TRUE(Children(this->view(), FileId::Foreign(2)).empty());
}

TYPED_TEST(ViewContract, AWalkEndsWhenToldTo) {
  std::vector<Effect> batch;
  for (int i = 0; i < 8; ++i) {
    const FileId id = TestId(100 + i);
    batch.push_back(SetNode(id, 1));
    batch.push_back(SetName({this->root, std::string(1, static_cast<char>('a' + i))}, id));
  }
  this->Apply(batch);
  for (int stop = 1; stop <= 8; ++stop) {
    int visited = 0;
    this->view().ForEachChild(this->root,
                              [&](const std::string&, const FileId&) { return ++visited < stop; });
    EXPECT_EQ(visited, stop);
  }
}

TYPED_TEST(ViewContract, AGroupOfTenThousandLinks) {
  std::vector<Effect> batch = {SetNode(this->a, 1)};
  for (int i = 0; i < 10'000; ++i)
    batch.push_back(SetName({this->root, "link-" + std::to_string(i)}, this->a));
  this->Apply(batch);
  this->Apply({DropName({this->root, "link-77"})});
  EXPECT_EQ(this->NamesOf(this->a).size(), 9'999u);
  EXPECT_FALSE(this->view().Child({this->root, "link-77"}));
}

TEST(Expected, ClearGoesBackToTheBase) {
  EmptyView empty;
  Expected expected(&empty);
  expected.Apply(1, SetNode(TestId(5), 1));
  expected.Apply(1, SetName({TestId(1), "x"}, TestId(5)));
  expected.Clear();
  EXPECT_FALSE(expected.Node(TestId(5)));
  EXPECT_TRUE(Children(expected, TestId(1)).empty());
}

TEST(Expected, RetireKeepsWhatALaterBatchChanged) {
  EmptyView empty;
  Expected expected(&empty);
  expected.Apply(1, SetNode(TestId(5), 1));
  expected.Apply(1, SetName({TestId(1), "x"}, TestId(5)));
  expected.Apply(2, SetNode(TestId(5), 2));
  expected.Retire(1);
  EXPECT_EQ(expected.Node(TestId(5)), RecordOf(2));
  EXPECT_FALSE(expected.Child({TestId(1), "x"}))
      << "the base is said to hold batch 1, and it has no such name";
  expected.Retire(2);
  EXPECT_FALSE(expected.Node(TestId(5)));
}

}  // namespace
}  // namespace fanmirror::catalogue
