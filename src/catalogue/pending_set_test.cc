#include "catalogue/pending_set.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "catalogue/scratch_for_test.h"
#include "model/failure.h"

namespace fanmirror::catalogue {
namespace {

using model::Change;
using Entry = PendingSet::Entry;

constexpr std::int64_t kMs = 1'000'000;
constexpr PendingSet::Timing kTiming = {100 * kMs, 1000 * kMs};

Change NameChange(std::string name, bool content = false) {
  return {Change::Kind::kName, TestId(1), std::move(name), content, false};
}

class PendingSetTest : public testing::Test {
 protected:
  void SetUp() override { Open("boot 1"); }
  void Open(const std::string& boot_id) {
    set_.reset();
    auto set = PendingSet::Open(dir(), boot_id, kTiming);
    ASSERT_TRUE(set.ok()) << set.status().ToString();
    set_ = *std::move(set);
  }
  std::string dir() const { return scratch_.path() + "/deep/pending"; }
  void Note(const Change& change, std::int64_t now_ns) { ASSERT_STATUS_OK(set_->Note({change}, now_ns)); }
  std::vector<Entry> Take(std::int64_t now_ns, std::size_t max = 100) {
    auto taken = set_->TakeDue(now_ns, max);
    EXPECT_TRUE(taken.ok()) << taken.status().ToString();
    return taken.ok() ? *std::move(taken) : std::vector<Entry>();
  }
  Entry TakeOnly(std::int64_t now_ns) {
    const auto taken = Take(now_ns);
    EXPECT_EQ(taken.size(), 1u);
    return taken.empty() ? Entry() : taken.front();
  }
  void Settle(const std::vector<Entry>& proved, const std::vector<PendingSet::Retry>& retries = {}) {
    ASSERT_STATUS_OK(set_->Settle(proved, retries));
  }
  PendingSet::Retry Failed(const Entry& entry, std::int64_t due_ns) {
    return {entry.change, due_ns, true, "no space", entry.first_ns, 0};
  }
  Scratch scratch_;
  std::unique_ptr<PendingSet> set_;
};

TEST_F(PendingSetTest, ListsInPartsWhatIsNotTaken) {
  for (const char* name : {"d", "a", "c", "b", "e"}) Note(NameChange(name), 0);
  ASSERT_EQ(Take(100 * kMs, 1).front().change.name, "a");
  std::string names;
  std::vector<Entry> part;
  do {
    const auto next = set_->List(part.empty() ? nullptr : &part.back().change, 2);
    ASSERT_STATUS_OK(next.status());
    part = *next;
    for (const Entry& entry : part) names += entry.change.name;
  } while (!part.empty());
  EXPECT_EQ(names, "bcde");
}

TEST_F(PendingSetTest, WhatIsListedCanBeSettledUnlessItChangesAgain) {
  Note(NameChange("a"), 0);
  Note(NameChange("b"), 0);
  auto listed = set_->List(nullptr, 10);
  ASSERT_STATUS_OK(listed.status());
  ASSERT_EQ(listed->size(), 2u);
  for (Entry& entry : *listed) entry.taken_ns = 5;
  Note(NameChange("b"), 6);
  Settle(*listed);
  EXPECT_EQ(set_->Size(), 1u);
  const Entry left = TakeOnly(100 * kMs + 6);
  EXPECT_EQ(left.change.name, "b");
  EXPECT_EQ(left.first_sequence, 3u);
}

TEST_F(PendingSetTest, StartsEmpty) {
  EXPECT_EQ(set_->Size(), 0u);
  EXPECT_EQ(set_->NextDue(), std::nullopt);
  EXPECT_EQ(set_->OldestSequence(), std::nullopt);
  EXPECT_EQ(set_->OldestNs(), std::nullopt);
  EXPECT_EQ(set_->LastSequence(), 0u);
  EXPECT_TRUE(Take(1'000'000 * kMs).empty());
}

TEST_F(PendingSetTest, OneEntryForEachPlace) {
  Note(NameChange("a"), 0);
  Note(NameChange("a", true), kMs);
  Note(NameChange("b"), 2 * kMs);
  Note({Change::Kind::kNode, TestId(1), "", false, false}, 3 * kMs);
  Note({Change::Kind::kTree, TestId(1), "", false, false}, 4 * kMs);
  Note({Change::Kind::kTree, TestId(1), "", false, true}, 5 * kMs);
  Note({Change::Kind::kTree, TestId(2), "", false, false}, 6 * kMs);
  EXPECT_EQ(set_->Size(), 5u);
  EXPECT_EQ(set_->LastSequence(), 7u);
  const auto taken = Take(1000 * kMs);
  ASSERT_EQ(taken.size(), 5u);
  EXPECT_EQ(taken[0].change, NameChange("a", true)) << "content is or-ed";
  EXPECT_EQ(taken[0].first_sequence, 1u);
  EXPECT_EQ(taken[0].last_sequence, 2u);
  EXPECT_EQ(taken[0].first_ns, 0);
  EXPECT_EQ(taken[0].last_ns, kMs);
  EXPECT_TRUE(taken[3].change.startup) << "startup is or-ed";
}

struct DueCase {
  std::vector<std::int64_t> noted_ms;
  std::int64_t due_ms;
};
class DueTable : public PendingSetTest, public testing::WithParamInterface<DueCase> {};

TEST_P(DueTable, SettlesButNeverWaitsLongerThanMaxDelay) {
  for (const std::int64_t at : GetParam().noted_ms) Note(NameChange("a"), at * kMs);
  EXPECT_EQ(set_->NextDue(), GetParam().due_ms * kMs);
  EXPECT_TRUE(Take(GetParam().due_ms * kMs - 1).empty());
  EXPECT_EQ(Take(GetParam().due_ms * kMs).size(), 1u);
  EXPECT_EQ(set_->NextDue(), std::nullopt);
}
INSTANTIATE_TEST_SUITE_P(Times, DueTable,
                         testing::Values(DueCase{{0}, 100}, DueCase{{0, 50}, 150},
                                         DueCase{{0, 100, 150}, 250}, DueCase{{0, 899}, 999},
                                         DueCase{{0, 900}, 1000}, DueCase{{0, 950}, 1000},
                                         DueCase{{0, 5000}, 1000}, DueCase{{-500}, -400},
                                         DueCase{{7, 7}, 107}));

TEST_F(PendingSetTest, OldestDueFirstAndNoMoreThanAsked) {
  Note(NameChange("late"), 30 * kMs);
  Note(NameChange("early"), 10 * kMs);
  Note(NameChange("middle"), 20 * kMs);
  const auto first = Take(1000 * kMs, 2);
  ASSERT_EQ(first.size(), 2u);
  EXPECT_EQ(first[0].change.name, "early");
  EXPECT_EQ(first[1].change.name, "middle");
  EXPECT_EQ(TakeOnly(1000 * kMs).change.name, "late");
}

TEST_F(PendingSetTest, TakenIsNotGivenAgainButHoldsTheBarrier) {
  Note(NameChange("a"), 0);
  const Entry taken = TakeOnly(100 * kMs);
  EXPECT_EQ(taken.taken_ns, 100 * kMs);
  EXPECT_TRUE(Take(5000 * kMs).empty());
  EXPECT_EQ(set_->OldestSequence(), 1u);
  EXPECT_EQ(set_->Size(), 1u);
  Settle({taken});
  EXPECT_EQ(set_->OldestSequence(), std::nullopt);
  EXPECT_EQ(set_->Size(), 0u);
}

TEST_F(PendingSetTest, NotedWhileTakenIsDueAgainAndOutlivesTheProof) {
  Note(NameChange("a"), 0);
  const Entry taken = TakeOnly(2000 * kMs);
  Note(NameChange("other"), 2005 * kMs);
  Note(NameChange("a"), 2010 * kMs);
  EXPECT_EQ(set_->NextDue(), 2105 * kMs);
  Settle({taken, Take(2105 * kMs, 1)[0]});
  EXPECT_EQ(set_->NextDue(), 2110 * kMs) << "its own settling, not the long past first change's";
  EXPECT_EQ(set_->OldestSequence(), 3u);
  EXPECT_EQ(set_->OldestNs(), 2000 * kMs) << "when it was taken";
  Settle({TakeOnly(2110 * kMs)});
  EXPECT_EQ(set_->Size(), 0u);
}

TEST_F(PendingSetTest, TakenTwiceIsLostByNeitherProof) {
  for (const bool second_first : {false, true}) {
    SCOPED_TRACE(second_first);
    Note(NameChange("a"), 0);
    const Entry first = TakeOnly(100 * kMs);
    Note(NameChange("a"), 200 * kMs);
    const Entry second = TakeOnly(300 * kMs);
    const std::uint64_t after_second = set_->LastSequence();
    Settle({second_first ? second : first});
    if (second_first) {
      EXPECT_EQ(set_->Size(), 0u) << "the second taking saw all";
      Note(NameChange("a"), 400 * kMs);
      Settle({first});
      EXPECT_EQ(set_->OldestNs(), 400 * kMs) << "a late proof of what is older leaves the new change alone";
    } else {
      EXPECT_EQ(set_->Size(), 1u);
      EXPECT_EQ(set_->OldestSequence(), after_second);
      EXPECT_TRUE(Take(5000 * kMs).empty()) << "the second taking is under way";
      Note(NameChange("a"), 400 * kMs);
      Settle({second});
    }
    EXPECT_EQ(set_->OldestSequence(), set_->LastSequence());
    Settle({TakeOnly(6000 * kMs)});
    EXPECT_EQ(set_->Size(), 0u);
  }
}

TEST_F(PendingSetTest, ReleasedIsDueAtOnce) {
  Note(NameChange("a"), 0);
  Note(NameChange("b"), 0);
  const auto taken = Take(100 * kMs);
  Note(NameChange("b"), 150 * kMs);
  ASSERT_STATUS_OK(set_->Release(taken));
  const auto again = Take(100 * kMs);
  ASSERT_EQ(again.size(), 2u);
  EXPECT_EQ(again[0].first_sequence, 1u);
  Settle(again);
  EXPECT_EQ(set_->Size(), 0u);
}

TEST_F(PendingSetTest, AnEarlierTakingReleasedLeavesTheLaterOne) {
  Note(NameChange("a"), 0);
  const Entry first = TakeOnly(100 * kMs);
  Note(NameChange("a"), 200 * kMs);
  const Entry second = TakeOnly(300 * kMs);
  ASSERT_STATUS_OK(set_->Release({first}));
  EXPECT_EQ(set_->NextDue(), std::nullopt);
  ASSERT_STATUS_OK(set_->Release({second}));
  EXPECT_EQ(TakeOnly(300 * kMs).first_sequence, 1u);
}

TEST_F(PendingSetTest, FailuresAreCountedAndSuccessForgivesThem) {
  Note(NameChange("a"), 0);
  Entry entry = TakeOnly(100 * kMs);
  for (int attempt = 1; attempt <= 3; ++attempt) {
    const std::int64_t due = entry.taken_ns + 10'000 * kMs;
    if (attempt == 2) {
      Settle({entry}, {Failed(entry, due)});
    } else {
      Settle({}, {Failed(entry, due)});
    }
    EXPECT_EQ(set_->NextDue(), due);
    EXPECT_EQ(set_->OldestSequence(), 1u) << "a failed change is not proved";
    ASSERT_EQ(set_->Failing(10).size(), 1u);
    EXPECT_EQ(set_->Failing(10)[0].attempts, attempt);
    EXPECT_EQ(set_->Failing(10)[0].error, "no space");
    EXPECT_EQ(set_->Failing(10)[0].change.name, "a");
    entry = TakeOnly(due);
    EXPECT_EQ(entry.attempts, attempt);
  }
  EXPECT_TRUE(set_->Failing(0).empty());
  Note(NameChange("a"), entry.taken_ns + kMs);
  Settle({entry});
  EXPECT_TRUE(set_->Failing(10).empty());
  EXPECT_EQ(TakeOnly(entry.taken_ns + 101 * kMs).attempts, 0);
}

TEST_F(PendingSetTest, AFreshChangeCutsABackOffToOneSecondOnce) {
  Note(NameChange("a"), 0);
  Settle({}, {Failed(TakeOnly(100 * kMs), 600'000 * kMs)});
  Note(NameChange("a"), 5'000 * kMs);
  EXPECT_EQ(set_->NextDue(), 6'000 * kMs);
  Note(NameChange("a"), 5'900 * kMs);
  EXPECT_EQ(set_->NextDue(), 6'000 * kMs) << "further changes do not put it off";
  EXPECT_EQ(TakeOnly(6'000 * kMs).attempts, 1);
}

TEST_F(PendingSetTest, AFreshChangeDoesNotPutOffABackOffThatEndsSooner) {
  Note(NameChange("a"), 0);
  Settle({}, {Failed(TakeOnly(100 * kMs), 5'300 * kMs)});
  Note(NameChange("a"), 5'000 * kMs);
  EXPECT_EQ(set_->NextDue(), 5'300 * kMs) << "and not earlier either";
}

TEST_F(PendingSetTest, AChangeSinceTheTakingCutsTheBackOffOfItsFailure) {
  Note(NameChange("a"), 0);
  const Entry taken = TakeOnly(100 * kMs);
  Note(NameChange("a"), 200 * kMs);
  Settle({}, {Failed(taken, 600'000 * kMs)});
  EXPECT_EQ(set_->NextDue(), 1'200 * kMs);
}

TEST_F(PendingSetTest, ARetryOfAnotherPlaceKeepsTheBarrierOfItsOrigin) {
  Note({Change::Kind::kTree, TestId(1), "", false, false}, 0);
  const Entry tree = TakeOnly(100 * kMs);
  Note(NameChange("later"), 150 * kMs);
  Settle({tree}, {{NameChange("child"), 9'000 * kMs, true, "why", tree.first_ns, 0}});
  EXPECT_EQ(set_->Size(), 2u);
  EXPECT_EQ(set_->OldestSequence(), 1u);
  EXPECT_EQ(set_->OldestNs(), 0);
  Settle({}, {{NameChange("explicit"), 9'000 * kMs, false, "", 0, 0}});
  const auto taken = Take(9'000 * kMs);
  ASSERT_EQ(taken.size(), 3u);
  EXPECT_EQ(taken[2].attempts, 0) << "only looked at again";
}

TEST_F(PendingSetTest, ARetryDuringATakingIsNotLostByItsProof) {
  Note(NameChange("a"), 0);
  const Entry taken = TakeOnly(100 * kMs);
  Settle({}, {{NameChange("a", true), 300 * kMs, false, "", 200 * kMs, 0}});
  Settle({taken});
  EXPECT_EQ(set_->Size(), 1u);
  EXPECT_TRUE(TakeOnly(300 * kMs).change.content);
}

// What failed is not proved by a look that began before the failure was known.
TEST_F(PendingSetTest, ARetryIsNotProvedByAnEarlierTaking) {
  Note(NameChange("a"), 0);
  const Entry first = TakeOnly(100 * kMs);
  Note(NameChange("a"), 110 * kMs);
  const Entry second = TakeOnly(210 * kMs);
  PendingSet::Retry retry = Failed(first, 300 * kMs);
  retry.first_sequence = first.first_sequence;
  Settle({}, {retry});
  Settle({first});
  EXPECT_EQ(set_->OldestSequence(), first.first_sequence);
  Settle({second});
  EXPECT_EQ(set_->OldestSequence(), first.first_sequence);
  EXPECT_EQ(set_->OldestNs(), first.first_ns);
  const Entry again = TakeOnly(2'000 * kMs);
  EXPECT_EQ(again.first_sequence, first.first_sequence);
  Note(NameChange("a"), 2'010 * kMs);
  Settle({again});
  EXPECT_GT(set_->OldestSequence(), again.last_sequence);
  Settle({TakeOnly(9'000 * kMs)});
  EXPECT_EQ(set_->Size(), 0u);
}

// The batch that failed may be of later changes than the look: the look was at what the batch would make of the target.
TEST_F(PendingSetTest, ARetryOfALaterChangeDoesNotProveAnEarlierTakingInTheSameCall) {
  Note(NameChange("a"), 0);
  const Entry taken = TakeOnly(100 * kMs);
  PendingSet::Retry retry = Failed(taken, 300 * kMs);
  retry.first_sequence = taken.last_sequence + 5;
  retry.first_ns = taken.first_ns + 10 * kMs;
  PendingSet::Retry raced{taken.change, 200 * kMs, false, "", taken.taken_ns, 0};
  Settle({taken}, {retry, raced});
  EXPECT_EQ(set_->OldestSequence(), taken.first_sequence);
  EXPECT_EQ(set_->OldestNs(), taken.first_ns);
}

TEST_F(PendingSetTest, ARacedReadStaysPendingButProvesWhatWasBeforeIt) {
  Note(NameChange("log"), 0);
  const Entry taken = TakeOnly(100 * kMs);
  Settle({taken}, {{taken.change, 200 * kMs, false, "", taken.taken_ns, 0}});
  EXPECT_EQ(set_->Size(), 1u);
  EXPECT_GT(*set_->OldestSequence(), taken.last_sequence);
  EXPECT_EQ(set_->OldestNs(), 100 * kMs);
  EXPECT_EQ(set_->NextDue(), 200 * kMs);
  Settle({TakeOnly(200 * kMs)});
  EXPECT_EQ(set_->Size(), 0u);
}

TEST_F(PendingSetTest, RefusesWhatNamesNoPlaceAndNotesNothingOfTheCall) {
  for (const Change& bad : {Change{Change::Kind::kName, TestId(1), "", false, false},
                            Change{Change::Kind::kName, TestId(1), "a/b", false, false},
                            Change{Change::Kind::kName, TestId(1), std::string(256, 'x'), false, false},
                            Change{Change::Kind::kNode, {}, "", false, false}}) {
    const absl::Status status = set_->Note({NameChange("good"), bad}, 0);
    EXPECT_FALSE(status.ok());
    EXPECT_EQ(model::ReactionOf(status), model::Reaction::kHaltJob);
  }
  EXPECT_EQ(set_->Size(), 0u);
  EXPECT_EQ(set_->LastSequence(), 0u);
  Note(NameChange(std::string(255, '\xff')), 0);
  EXPECT_EQ(TakeOnly(1000 * kMs).change.name, std::string(255, '\xff'));
}

TEST_F(PendingSetTest, IsKeptOverACleanRestart) {
  Note(NameChange("taken"), 0);
  EXPECT_EQ(TakeOnly(100 * kMs).change.name, "taken");
  Note(NameChange("waits"), 200 * kMs);
  Note(NameChange("taken"), 300 * kMs);
  Open("boot 1");
  EXPECT_EQ(set_->LastSequence(), 3u);
  EXPECT_EQ(set_->Size(), 2u);
  const Entry taken = TakeOnly(100 * kMs);
  EXPECT_EQ(taken.change.name, "taken") << "what was under way is due at once";
  EXPECT_EQ(taken.first_sequence, 1u);
  Settle({taken});
  EXPECT_EQ(TakeOnly(300 * kMs).change.name, "waits");
}

TEST_F(PendingSetTest, RemembersWhatItIsCompleteFor) {
  EXPECT_FALSE(set_->completeness());
  const Change all = {Change::Kind::kTree, TestId(1), "", false, true};
  ASSERT_STATUS_OK(set_->NoteScan(all, 0, {7, "scope"}));
  ASSERT_STATUS_OK(set_->NoteScan(all, 0, {8, std::string("another\0scope", 13)}));
  EXPECT_EQ(set_->Size(), 1u);
  Open("boot 1");
  const auto completeness = set_->completeness();
  ASSERT_TRUE(completeness);
  EXPECT_EQ(completeness->token, 8u);
  EXPECT_EQ(completeness->scope, std::string("another\0scope", 13));
  EXPECT_TRUE(TakeOnly(kMs * 1000).change.startup);
  EXPECT_FALSE(set_->NoteScan({Change::Kind::kTree, {}, "", false, true}, 0, {9, "scope"}).ok());
  EXPECT_EQ(set_->completeness()->token, 8u) << "with the scan or not at all";
  Open("boot 2");
  EXPECT_FALSE(set_->completeness());
}

TEST_F(PendingSetTest, IsEmptyAfterABootAndAfterDamage) {
  Note(NameChange("a"), 0);
  Open("boot 2");
  EXPECT_EQ(set_->Size(), 0u);
  Note(NameChange("a"), 0);
  set_.reset();
  std::ofstream(dir() + "/data.mdb", std::ios::trunc) << std::string(20'000, 'x');
  Open("boot 2");
  EXPECT_EQ(set_->Size(), 0u);
  Note(NameChange("a"), 0);
  EXPECT_EQ(set_->Size(), 1u);
}

TEST_F(PendingSetTest, JournalGivesWholeRangesOrNothing) {
  std::vector<PendingSet::Touched> many;
  for (int i = 0; i < 3000; ++i) many.push_back({absl::StrCat("dir/", std::string(40, 'n'), i), i % 2 == 0});
  ASSERT_STATUS_OK(set_->RecordIntent(5, many));
  ASSERT_STATUS_OK(set_->RecordIntent(6, {}));
  ASSERT_STATUS_OK(set_->RecordIntent(7, {{"", true}}));
  ASSERT_STATUS_OK(set_->RecordIntent(9, {{"x", false}}));
  const auto count = [&](std::uint64_t first, std::uint64_t last) -> int {
    const auto touched = set_->Intents(first, last);
    EXPECT_TRUE(touched.ok());
    return touched.ok() && touched->has_value() ? static_cast<int>((*touched)->size()) : -1;
  };
  EXPECT_EQ(count(5, 5), 3000);
  EXPECT_EQ(count(5, 7), 3001);
  EXPECT_EQ(count(6, 6), 0);
  EXPECT_EQ(count(6, 5), 0) << "no batch";
  EXPECT_EQ(count(4, 6), -1);
  EXPECT_EQ(count(5, 9), -1);
  EXPECT_EQ(count(9, ~std::uint64_t{0}), -1);
  EXPECT_EQ((**set_->Intents(5, 5))[2999].path, many[2999].path);
  EXPECT_FALSE((**set_->Intents(5, 5))[2999].recursive);
  EXPECT_TRUE((**set_->Intents(7, 7))[0].recursive);
  ASSERT_STATUS_OK(set_->RecordIntent(5, {{"only", false}}));
  EXPECT_EQ(count(5, 5), 1);
  ASSERT_STATUS_OK(set_->DropIntents(6));
  Open("boot 1");
  EXPECT_EQ(count(5, 5), -1);
  EXPECT_EQ(count(7, 7), 1);
}

TEST_F(PendingSetTest, NotedByOneThreadWhileAnotherTakesAndSettles) {
  constexpr int kRounds = 300;
  std::thread watcher([&] {
    for (int round = 0; round < kRounds; ++round) {
      std::vector<Change> changes;
      for (int i = 0; i < 20; ++i) changes.push_back(NameChange(absl::StrCat("n", (round + i * i) % 50)));
      EXPECT_STATUS_OK(set_->Note(changes, round));
    }
  });
  while (set_->LastSequence() < kRounds * 20 || set_->Size() > 0) {
    const auto taken = Take(1'000'000 * kMs, 7);
    EXPECT_STATUS_OK(set_->Settle(taken, {}));
  }
  watcher.join();
  EXPECT_EQ(set_->OldestSequence(), std::nullopt);
  EXPECT_EQ(set_->NextDue(), std::nullopt);
}

}  // namespace
}  // namespace fanmirror::catalogue
