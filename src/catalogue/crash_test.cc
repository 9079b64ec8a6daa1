// A process that is killed in the midst of its work leaves whole batches behind, and all of those that it
// reported.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <functional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "catalogue/catalogue.h"
#include "catalogue/pending_set.h"
#include "catalogue/scratch_for_test.h"

namespace fanmirror::catalogue {
namespace {

constexpr int kKills = 20;
constexpr std::uint64_t kNodes = 40;  // that each batch changes

// Runs `work`, which tells each step that is done, in a process of its own, and kills it after `steps` steps
// (at least 2) and `per_mille` of the time of another. Returns the number of the last step that it told.
std::uint64_t KillAfter(std::uint_fast32_t steps, std::uint_fast32_t per_mille,
                        const std::function<void(const std::function<void(std::uint64_t)>&)>& work) {
  std::array<int, 2> pipe_ends{};
  if (pipe(pipe_ends.data()) != 0) abort();
  const pid_t child = fork();
  if (child == 0) {
    close(pipe_ends[0]);  // so that it ends with its parent
    work([&](std::uint64_t step) {
      if (write(pipe_ends[1], &step, sizeof step) != sizeof step) _exit(1);
    });
    _exit(0);
  }
  close(pipe_ends[1]);
  using Clock = std::chrono::steady_clock;
  std::uint64_t last = 0;
  Clock::time_point told[2] = {};
  for (std::uint_fast32_t i = 0; i < steps; ++i) {
    if (read(pipe_ends[0], &last, sizeof last) != sizeof last) break;
    told[0] = std::exchange(told[1], Clock::now());
  }
  std::this_thread::sleep_for((told[1] - told[0]) / 1000 *
                              per_mille);  // not to wait for anything: where it dies
  kill(child, SIGKILL);
  for (std::uint64_t step = 0; read(pipe_ends[0], &step, sizeof step) == sizeof step;) last = step;
  close(pipe_ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status)) << "the child ended by itself";
  return last;
}

// Batch n gives each node the size n and moves it to the name "n-i".
std::vector<Effect> Batch(std::uint64_t batch) {
  std::vector<Effect> effects;
  for (std::uint64_t i = 0; i < kNodes; ++i) {
    Record record;
    record.metadata.size = batch;
    const model::Name name{TestId(1), absl::StrCat(batch, "-", i)};
    effects.push_back({Effect::Kind::kSetNode, TestId(10 + i), {}, {}, record});
    if (batch == 1) {
      effects.push_back({Effect::Kind::kSetName, TestId(10 + i), name, {}, {}});
    } else {
      effects.push_back(
          {Effect::Kind::kMoveName, {}, {TestId(1), absl::StrCat(batch - 1, "-", i)}, name, {}});
    }
  }
  return effects;
}

TEST(KilledProcess, LeavesACatalogueOfWholeBatches) {
  const Scratch scratch;
  std::mt19937 random(1);
  std::uint64_t before = 0;
  for (int round = 0; round < kKills; ++round) {
    const std::uint64_t told = KillAfter(2 + random() % 8, random() % 1000, [&](const auto& tell) {
      auto catalogue = Catalogue::Open(scratch.path());
      if (!catalogue.ok()) return;
      for (std::uint64_t batch = (*catalogue)->header().batch + 1;; ++batch) {
        if (!(*catalogue)->Commit(batch, Batch(batch)).ok()) return;
        tell(batch);
      }
    });
    const auto catalogue = Catalogue::Open(scratch.path());
    ASSERT_TRUE(catalogue.ok()) << catalogue.status().ToString();
    const std::uint64_t batch = (*catalogue)->header().batch;
    ASSERT_GT(told, before);
    ASSERT_GE(batch, told);
    before = batch;
    ASSERT_EQ((*catalogue)->nodes(), kNodes);
    std::uint64_t children = 0;
    (*catalogue)->ForEachChild(TestId(1), [&](const std::string&, const model::FileId&) {
      return ++children;
    });
    ASSERT_EQ(children, kNodes);
    for (std::uint64_t i = 0; i < kNodes; ++i) {
      ASSERT_EQ((*catalogue)->Node(TestId(10 + i))->metadata.size, batch);
      ASSERT_EQ((*catalogue)->Child({TestId(1), absl::StrCat(batch, "-", i)}), TestId(10 + i));
    }
    ASSERT_STATUS_OK((*catalogue)->health());
  }
}

std::vector<model::Change> Changes(std::uint64_t round) {
  std::vector<model::Change> changes;
  for (std::uint64_t i = 0; i < kNodes; ++i) {
    changes.push_back({model::Change::Kind::kName, TestId(1), absl::StrCat(round, "-", i), false, false});
  }
  return changes;
}

// Each round notes kNodes changes; every third takes as many, of which it settles half the time.
void NoteTakeSettle(PendingSet* set, const std::function<void(std::uint64_t)>& tell) {
  for (std::uint64_t round = set->LastSequence() / kNodes + 1;; ++round) {
    if (!set->Note(Changes(round), static_cast<std::int64_t>(round)).ok()) return;
    tell(round);
    if (round % 3 != 0) continue;
    const auto taken = set->TakeDue(static_cast<std::int64_t>(round), kNodes);
    if (!taken.ok() || (round % 2 == 0 && !set->Settle(*taken, {}).ok())) return;
  }
}

TEST(KilledProcess, LeavesAPendingSetOfWholeBatches) {
  const Scratch scratch;
  std::mt19937 random(2);
  std::uint64_t before = 0;
  for (int round = 0; round < kKills; ++round) {
    const std::uint64_t told = KillAfter(2 + random() % 60, random() % 1000, [&](const auto& tell) {
      auto set = PendingSet::Open(scratch.path(), "boot", {});
      if (set.ok()) NoteTakeSettle(set->get(), tell);
    });
    const auto set = PendingSet::Open(scratch.path(), "boot", {});
    ASSERT_TRUE(set.ok()) << set.status().ToString();
    ASSERT_GT(told, before);
    ASSERT_GE((*set)->LastSequence(), told * kNodes);
    ASSERT_EQ((*set)->LastSequence() % kNodes, 0u);
    before = (*set)->LastSequence() / kNodes;
    const std::uint64_t size = (*set)->Size();
    ASSERT_EQ(size % kNodes, 0u);
    const auto taken = (*set)->TakeDue(1'000'000'000, size + 1);
    ASSERT_TRUE(taken.ok());
    ASSERT_EQ(taken->size(), size) << "all that was under way is due";
    std::set<std::uint64_t> sequences;
    for (const PendingSet::Entry& entry : *taken) sequences.insert(entry.first_sequence);
    ASSERT_EQ(sequences.size(), size);
    ASSERT_EQ((*set)->OldestSequence(), *sequences.begin());
    ASSERT_STATUS_OK((*set)->Settle(*taken, {}));
    ASSERT_EQ((*set)->Size(), 0u);
    ASSERT_EQ((*set)->OldestSequence(), std::nullopt);
  }
}

}  // namespace
}  // namespace fanmirror::catalogue
