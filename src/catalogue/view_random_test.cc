// Random effects from a seed, on everything that is a View and on a model in the plainest way; all must
// agree.

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "catalogue/view_subjects_for_test.h"

namespace fanmirror::catalogue {
namespace {

using model::FileId;
using model::Name;

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

template <typename T>
class RandomEffects : public testing::Test {};

using Subjects = testing::Types<CatalogueSubject, OverlaySubject, FollowedSubject>;
TYPED_TEST_SUITE(RandomEffects, Subjects);

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

TYPED_TEST(RandomEffects, GiveWhatThePlainModelHas) {
  for (unsigned int seed = 1; seed <= TypeParam::kSeeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    TypeParam subject;
    PlainModel plain;
    for (int step = 0; step < 40; ++step) {
      std::vector<Effect> batch;
      for (unsigned int size = random() % 8; size > 0; --size) {
        batch.push_back(RandomEffect(&random));
        plain.Apply(batch.back());
      }
      subject.Apply(batch);
      ExpectSame(subject.view(), plain);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

}  // namespace
}  // namespace fanmirror::catalogue
