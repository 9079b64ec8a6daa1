// The rules of View and Effect, held by all that is a View: the catalogue, the overlay on nothing, and the
// overlay on a catalogue that follows it batch by batch.

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "catalogue/catalogue.h"
#include "catalogue/expected.h"
#include "catalogue/scratch_for_test.h"

namespace fanmirror::catalogue {
namespace {

using model::FileId;
using model::Name;

class EmptyView : public View {
 public:
  std::optional<Record> Node(const FileId&) const override { return std::nullopt; }
  std::optional<FileId> Child(const Name&) const override { return std::nullopt; }
  std::vector<Name> NamesOf(const FileId&) const override { return {}; }
  void ForEachChild(const FileId&,
                    absl::FunctionRef<bool(const std::string&, const FileId&)>) const override {}
};

// The rules again in the plainest way: one map of names, one of records.
class PlainModel {
 public:
  void Apply(const Effect& effect) {
    switch (effect.kind) {
      case Effect::Kind::kSetNode:
        records[effect.id] = effect.record;
        return;
      case Effect::Kind::kSetName:
        if (names.contains(effect.name) && names.at(effect.name) == effect.id) return;
        Drop(effect.name);
        if (records.contains(effect.id)) names[effect.name] = effect.id;
        return;
      case Effect::Kind::kDropName:
        Drop(effect.name);
        return;
      case Effect::Kind::kMoveName: {
        if (effect.name == effect.to) return;
        const auto it = names.find(effect.name);
        if (it == names.end()) return Drop(effect.to);
        const FileId id = it->second;
        names.erase(it);
        if (names.contains(effect.to) && names.at(effect.to) == id) return;
        Drop(effect.to);
        names[effect.to] = id;
        return;
      }
    }
  }
  std::set<Name> NamesOf(const FileId& id) const {
    std::set<Name> out;
    for (const auto& [name, node] : names) {
      if (node == id) out.insert(name);
    }
    return out;
  }
  std::map<Name, FileId> names;
  std::map<FileId, Record> records;

 private:
  void Drop(const Name& name) {
    const auto it = names.find(name);
    if (it == names.end()) return;
    const FileId id = it->second;
    names.erase(it);
    if (NamesOf(id).empty()) records.erase(id);
  }
};

// What is under test, with one way in.
class Subject {
 public:
  virtual ~Subject() = default;
  virtual void Apply(const std::vector<Effect>& batch) = 0;
  virtual const View& view() const = 0;
};

class CatalogueSubject : public Subject {
 public:
  CatalogueSubject() : catalogue_(*Catalogue::Open(scratch_.path() + "/catalogue")) {}
  void Apply(const std::vector<Effect>& batch) override {
    EXPECT_STATUS_OK(catalogue_->Commit(++batch_, batch));
  }
  const View& view() const override { return *catalogue_; }

 private:
  Scratch scratch_;
  std::unique_ptr<Catalogue> catalogue_;
  std::uint64_t batch_ = 0;
};

class OverlaySubject : public Subject {
 public:
  void Apply(const std::vector<Effect>& batch) override {
    ++batch_;
    for (const Effect& effect : batch) expected_.Apply(batch_, effect);
  }
  const View& view() const override { return expected_; }

 private:
  EmptyView empty_;
  Expected expected_{&empty_};
  std::uint64_t batch_ = 0;
};

// The catalogue follows up to kUnderWay batches behind, as acks do.
class FollowedSubject : public Subject {
 public:
  FollowedSubject()
      : catalogue_(*Catalogue::Open(scratch_.path() + "/catalogue")), expected_(catalogue_.get()) {}
  void Apply(const std::vector<Effect>& batch) override {
    under_way_[++batch_] = batch;
    for (const Effect& effect : batch) expected_.Apply(batch_, effect);
    while (under_way_.size() > random_() % (kUnderWay + 1)) {
      const auto first = under_way_.begin();
      EXPECT_STATUS_OK(catalogue_->Commit(first->first, first->second));
      expected_.Retire(first->first);
      under_way_.erase(first);
    }
  }
  const View& view() const override { return expected_; }

 private:
  static constexpr std::size_t kUnderWay = 4;
  Scratch scratch_;
  std::unique_ptr<Catalogue> catalogue_;
  Expected expected_;
  std::map<std::uint64_t, std::vector<Effect>> under_way_;
  std::uint64_t batch_ = 0;
  std::mt19937 random_{1};
};

Record RecordOf(std::uint64_t number) {
  Record record;
  record.metadata.type = static_cast<model::NodeType>(1 + number % 7);
  record.metadata.mode = number % 010000;
  record.metadata.uid = ~static_cast<std::uint32_t>(number);
  record.metadata.gid = static_cast<std::uint32_t>(number);
  record.metadata.size = number << 33;
  record.metadata.mtime = {-static_cast<std::int64_t>(number), 999'999'999};
  record.metadata.ctime = {static_cast<std::int64_t>(number), 1};
  record.metadata.links = 3;
  if (number % 7 > 4) record.metadata.device_minor = 9;
  record.content_known = number % 2;
  if (record.content_known) record.content = {number, ~number};
  record.racy = number % 3 == 0;
  return record;
}

Effect SetNode(const FileId& id, std::uint64_t number) {
  return {Effect::Kind::kSetNode, id, {}, {}, RecordOf(number)};
}
Effect SetName(const Name& name, const FileId& id) { return {Effect::Kind::kSetName, id, name, {}, {}}; }
Effect DropName(const Name& name) { return {Effect::Kind::kDropName, {}, name, {}, {}}; }
Effect MoveName(const Name& name, const Name& to) { return {Effect::Kind::kMoveName, {}, name, to, {}}; }

std::vector<std::pair<std::string, FileId>> Children(const View& view, const FileId& dir) {
  std::vector<std::pair<std::string, FileId>> out;
  view.ForEachChild(dir, [&](const std::string& name, const FileId& id) {
    out.emplace_back(name, id);
    return true;
  });
  return out;
}

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
  for (std::uint64_t number = 1; number < 30; ++number) this->Apply({SetNode(TestId(number), number)});
  for (std::uint64_t number = 1; number < 30; ++number)
    EXPECT_EQ(this->view().Node(TestId(number)), RecordOf(number));
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
  for (int i = 0; i < 8; ++i) {
    this->Apply({SetNode(TestId(100 + i), 1),
                 SetName({this->root, std::string(1, static_cast<char>('a' + i))}, TestId(100 + i))});
  }
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

Effect RandomEffect(std::mt19937* random) {
  const auto pick = [&](unsigned int below) { return (*random)() % below; };
  const auto name = [&] {
    return Name{TestId(pick(3)), std::string(1 + pick(2), static_cast<char>('a' + pick(4)))};
  };
  const FileId id = TestId(3 + pick(12));
  switch (pick(8)) {
    case 0:
    case 1:
    case 2:
      return SetNode(id, pick(1000));
    case 3:
    case 4:
      return SetName(name(), id);
    case 5:
      return DropName(name());
    default:
      return MoveName(name(), name());
  }
}

void ExpectSame(const View& view, const PlainModel& plain) {
  for (std::uint64_t number = 0; number < 15; ++number) {
    const FileId id = TestId(number);
    const auto record = plain.records.find(id);
    ASSERT_EQ(view.Node(id), record == plain.records.end() ? std::nullopt : std::optional(record->second));
    const auto names = view.NamesOf(id);
    ASSERT_EQ(std::multiset<Name>(names.begin(), names.end()), [&](const auto& set) {
      return std::multiset<Name>(set.begin(), set.end());
    }(plain.NamesOf(id)));
  }
  for (std::uint64_t number = 0; number < 3; ++number) {
    std::vector<std::pair<std::string, FileId>> children;
    for (const auto& [name, id] : plain.names) {
      if (name.dir == TestId(number)) children.emplace_back(name.name, id);
      ASSERT_EQ(view.Child(name), id);
    }
    ASSERT_EQ(Children(view, TestId(number)), children);
  }
}

TYPED_TEST(ViewContract, AgreesWithThePlainModelOnRandomEffects) {
  for (unsigned int seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    TypeParam fresh;
    PlainModel plain;
    for (int step = 0; step < 40; ++step) {
      std::vector<Effect> batch;
      for (unsigned int size = random() % 8; size > 0; --size) {
        batch.push_back(RandomEffect(&random));
        plain.Apply(batch.back());
      }
      fresh.Apply(batch);
      ExpectSame(fresh.view(), plain);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
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
