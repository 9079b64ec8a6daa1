#include "watch/watcher.h"

#include <sys/mount.h>
#include <sys/prctl.h>

#include <algorithm>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "watch/testing/watched_filesystem.h"

namespace fanmirror::watch {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using ::testing::Not;

class WatcherTest : public WatchedFilesystem {
 protected:
  // The filter of rsync filter lines.
  static select::Filter Rules(const std::vector<std::string>& lines) {
    std::vector<select::Rule> rules;
    for (const std::string& line : lines) {
      const auto parsed = select::ParseFilterLine(line);
      EXPECT_TRUE(parsed.ok()) << parsed.status();
      rules.insert(rules.end(), parsed->begin(), parsed->end());
    }
    auto filter = select::Filter::Compile(rules);
    EXPECT_TRUE(filter.ok()) << filter.status();
    return *filter;
  }
  // What was told, each change once: how often depends on how the events fall into reads.
  std::vector<model::Change> DistinctTold() {
    std::vector<model::Change> distinct;
    for (const model::Change& change : Told()) {
      if (std::find(distinct.begin(), distinct.end(), change) == distinct.end()) distinct.push_back(change);
    }
    return distinct;
  }
  static bool Churn(const std::string& dir) {
    const std::string file = dir + "/file";
    const std::string moved = dir + "/moved";
    const std::string sub = dir + "/sub";
    return WriteFile(file, "content") && chmod(file.c_str(), 0600) == 0 &&
           rename(file.c_str(), moved.c_str()) == 0 && mkdir(sub.c_str(), 0755) == 0 &&
           WriteFile(sub + "/deep", "content") && chmod(sub.c_str(), 0700) == 0 &&
           unlink((sub + "/deep").c_str()) == 0 && rmdir(sub.c_str()) == 0 && unlink(moved.c_str()) == 0;
  }
};

INSTANTIATE_TEST_SUITE_P(Filesystems, WatcherTest, ::testing::ValuesIn(WatchedFilesystems()), TestName);

TEST_P(WatcherTest, TellsNothingOfWhatIsOutside) {
  StartWatching();
  ASSERT_EQ(mkdir((source_ + "2").c_str(), 0755), 0);
  InAnotherProcess([&] { return WriteFile(outside_ + "/file", "x") && WriteFile(source_ + "2/file", "x"); });
  InAnotherProcess(
      [&] { return chmod(outside_.c_str(), 0700) == 0 && mkdir((outside_ + "/new").c_str(), 0755) == 0; });
  InAnotherProcess([&] { return rename((outside_ + "/file").c_str(), (source_ + "2/moved").c_str()) == 0; });
  InAnotherProcess([&] { return unlink((source_ + "2/moved").c_str()) == 0; });
  EXPECT_THAT(Told(), IsEmpty());
  EXPECT_GT(watcher_->counters().events, 0U);
}

TEST_P(WatcherTest, TellsOfWhatIsExcludedOnlyThatItsDirectoryChanged) {
  ASSERT_EQ(mkdir((source_ + "/cache").c_str(), 0755), 0);
  ASSERT_EQ(mkdir((source_ + "/state").c_str(), 0755), 0);
  ASSERT_EQ(mkdir((source_ + "/.fanmirror").c_str(), 0755), 0);
  StartWatching(Rules({"- /cache/", "- *.tmp"}), {"state"});
  for (const char* excluded : {"/cache", "/state", "/.fanmirror"}) {
    InAnotherProcess([&] { return WriteFile(source_ + excluded + "/file", "x"); });
    EXPECT_THAT(Told(), IsEmpty()) << excluded;
    InAnotherProcess([&] { return chmod((source_ + excluded).c_str(), 0700) == 0; });
    EXPECT_THAT(Told(), IsEmpty()) << excluded;
  }
  const std::string temporary = source_ + "/dir/a.tmp";
  const model::Change directory = Attributes(IdOf(source_ + "/dir"));
  InAnotherProcess([&] { return WriteFile(temporary, "x"); });
  EXPECT_THAT(DistinctTold(), ElementsAre(directory));
  InAnotherProcess([&] { return WriteFile(temporary, "y", 0) && chmod(temporary.c_str(), 0600) == 0; });
  EXPECT_THAT(Told(), IsEmpty());
  InAnotherProcess([&] { return unlink(temporary.c_str()) == 0; });
  EXPECT_THAT(Told(), ElementsAre(directory));
  InAnotherProcess([&] { return WriteFile(source_ + "/top.tmp", "x"); });
  EXPECT_THAT(DistinctTold(), ElementsAre(Attributes(tree_->root())));
  // The rule with the slash at its end is for directories only.
  InAnotherProcess([&] {
    return rename((source_ + "/cache").c_str(), (outside_ + "/cache").c_str()) == 0 &&
           WriteFile(source_ + "/cache", "x");
  });
  EXPECT_THAT(Told(), IsSupersetOf({Name(source_ + "/cache"), Content(IdOf(source_ + "/cache"))}));
}

TEST_P(WatcherTest, TellsOfWhatIsWrittenUnderTheOtherNameOfAFile) {
  const std::string file = source_ + "/dir/file";
  const std::string other = outside_ + "/file";
  const std::string excluded = source_ + "/a.tmp";
  ASSERT_TRUE(WriteFile(other, "x") && WriteFile(excluded, "x"));
  StartWatching(Rules({"- *.tmp"}));
  InAnotherProcess([&] { return WriteFile(other, "once") && WriteFile(excluded, "once"); });
  EXPECT_THAT(Told(), IsEmpty());
  for (const std::string& name : {other, excluded}) {
    InAnotherProcess([&] { return link(name.c_str(), file.c_str()) == 0; });
    EXPECT_THAT(DistinctTold(), IsSupersetOf({Name(file)}));
    InAnotherProcess([&] { return WriteFile(name, "again"); });
    EXPECT_THAT(DistinctTold(), IsSupersetOf({Content(IdOf(file))})) << name;
    InAnotherProcess([&] { return unlink(file.c_str()) == 0; });
    Told();
  }
}

TEST_P(WatcherTest, TellsTheIncludedSideOfARename) {
  StartWatching(Rules({"- *.tmp"}));
  const std::string temporary = source_ + "/dir/a.tmp";
  const std::string file = source_ + "/dir/a";
  const model::Change directory = Attributes(IdOf(source_ + "/dir"));
  InAnotherProcess([&] { return WriteFile(temporary, "x") && rename(temporary.c_str(), file.c_str()) == 0; });
  // Nobody was told what was written under the excluded name.
  EXPECT_THAT(DistinctTold(), ::testing::UnorderedElementsAre(Name(file), Content(IdOf(file)), directory));
  InAnotherProcess([&] { return rename(file.c_str(), temporary.c_str()) == 0; });
  EXPECT_THAT(DistinctTold(), ::testing::UnorderedElementsAre(Name(file), directory));
}

TEST_P(WatcherTest, AMovedDirectoryTakesItsPlaceAlong) {
  StartWatching();
  const std::string inside = source_ + "/dir";
  const std::string away = outside_ + "/dir";
  const std::string again = source_ + "/again";
  const model::FileId id = IdOf(inside);
  InAnotherProcess([&] { return WriteFile(inside + "/one", "x"); });
  EXPECT_THAT(Told(), IsSupersetOf({Name(inside + "/one")}));

  InAnotherProcess([&] { return rename(inside.c_str(), away.c_str()) == 0; });
  EXPECT_THAT(Told(), ::testing::UnorderedElementsAre(Name(inside)));
  InAnotherProcess([&] { return WriteFile(away + "/two", "x"); });
  EXPECT_THAT(Told(), IsEmpty());

  // What was done while it was away is told by the tree.
  InAnotherProcess([&] { return rename(away.c_str(), again.c_str()) == 0; });
  EXPECT_THAT(Told(), ::testing::UnorderedElementsAre(Name(again), Below(id)));
  InAnotherProcess([&] { return WriteFile(again + "/three", "x"); });
  EXPECT_THAT(Told(), IsSupersetOf({Name(again + "/three")}));
}

TEST_P(WatcherTest, ARenameInsideIsNoReasonToListTheTree) {
  StartWatching(Rules({"- *.tmp", "- /excluded/"}));
  const std::string moved = source_ + "/moved";
  const model::Change left = Name(source_ + "/dir");
  InAnotherProcess([&] { return rename((source_ + "/dir").c_str(), moved.c_str()) == 0; });
  EXPECT_THAT(Told(), ::testing::UnorderedElementsAre(left, Name(moved)));
}

TEST_P(WatcherTest, ARenameThatMayChangeWhatIsExcludedListsTheTree) {
  StartWatching(Rules({"- /dir/secret"}));
  const std::string moved = source_ + "/moved";
  const model::Change left = Name(source_ + "/dir");
  InAnotherProcess([&] { return WriteFile(source_ + "/dir/secret", "x"); });
  EXPECT_THAT(DistinctTold(), ElementsAre(Attributes(IdOf(source_ + "/dir"))));
  InAnotherProcess([&] { return rename((source_ + "/dir").c_str(), moved.c_str()) == 0; });
  EXPECT_THAT(Told(), ::testing::UnorderedElementsAre(left, Name(moved), Below(IdOf(moved))));
  InAnotherProcess([&] { return WriteFile(moved + "/secret", "y", 0); });
  EXPECT_THAT(Told(), Contains(Content(IdOf(moved + "/secret"))));
}

TEST_P(WatcherTest, DropsWhatItsOwnProcessDoes) {
  StartWatching();
  ASSERT_TRUE(Churn(source_ + "/dir"));
  EXPECT_THAT(Told(), IsEmpty());
  InAnotherProcess([&] { return Churn(source_ + "/dir"); });
  EXPECT_THAT(Told(), Not(IsEmpty()));
}

TEST_P(WatcherTest, TwoSubscriptionsShareTheMark) {
  const std::string other = filesystem_->path() + "/other";
  ASSERT_EQ(mkdir(other.c_str(), 0755), 0);
  auto other_tree = os::Tree::Open(other);
  ASSERT_TRUE(other_tree.ok()) << other_tree.status();
  Recorder other_told;
  second_ = [&](Watcher& watcher) {
    watcher.Subscribe({other_tree->get(),
                       {},
                       {},
                       [&](absl::Span<const model::Change> changes) { other_told.Add(changes); },
                       [&] { other_told.AddLoss(); }});
  };
  StartWatching();
  InAnotherProcess([&] { return mkdir((source_ + "/new").c_str(), 0755) == 0; });
  InAnotherProcess([&] { return mkdir((other + "/new").c_str(), 0755) == 0; });
  EXPECT_THAT(Told(), ::testing::UnorderedElementsAre(Name(source_ + "/new")));
  EXPECT_THAT(other_told.Take(), ::testing::UnorderedElementsAre(Name(other + "/new")));
  InAnotherProcess([&] { return rename((source_ + "/new").c_str(), (other + "/moved").c_str()) == 0; });
  EXPECT_THAT(Told(), ::testing::UnorderedElementsAre(Name(source_ + "/new")));
  EXPECT_THAT(other_told.Take(),
              ::testing::UnorderedElementsAre(Name(other + "/moved"), Below(IdOf(other + "/moved"))));
  watcher_.reset();
}

TEST_P(WatcherTest, ASubscriptionMayComeAndGoWhileItRuns) {
  StartWatching();
  auto late_tree = os::Tree::Open(outside_);
  ASSERT_TRUE(late_tree.ok()) << late_tree.status();
  InAnotherProcess([&] { return mkdir((outside_ + "/before").c_str(), 0755) == 0; });
  EXPECT_THAT(Told(), IsEmpty());
  Recorder late;
  const std::uint64_t id =
      watcher_->Subscribe({late_tree->get(),
                           {},
                           {},
                           [&](absl::Span<const model::Change> changes) { late.Add(changes); },
                           [&] { late.AddLoss(); }});
  InAnotherProcess([&] { return mkdir((outside_ + "/during").c_str(), 0755) == 0; });
  EXPECT_THAT(Told(), IsEmpty());
  EXPECT_THAT(late.Take(), ElementsAre(Name(outside_ + "/during")));
  watcher_->Unsubscribe(id);
  watcher_->Unsubscribe(id);  // is no longer there
  InAnotherProcess([&] { return mkdir((outside_ + "/after").c_str(), 0755) == 0; });
  InAnotherProcess([&] { return mkdir((source_ + "/after").c_str(), 0755) == 0; });
  EXPECT_THAT(Told(), ElementsAre(Name(source_ + "/after")));
  EXPECT_THAT(late.Take(), IsEmpty());
}

// Between two changes of a stream: it never ends, but a reader that is slowed by a sanitizer keeps up with it.
constexpr timespec kPace = {0, 1'000'000};

TEST_P(WatcherTest, NothingIsCalledOnceUnsubscribeHasReturned) {
  StartWatching();
  const pid_t busy = StartProcess([&] {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    bool well = true;
    while (well) {
      well = WriteFile(source_ + "/dir/busy", "x") && unlink((source_ + "/dir/busy").c_str()) == 0 &&
             nanosleep(&kPace, nullptr) == 0;
    }
    return well;
  });
  for (int round = 0; round < 50; ++round) {
    auto tree = os::Tree::Open(source_);
    ASSERT_TRUE(tree.ok()) << tree.status();
    std::mutex mutex;
    std::condition_variable called;
    std::size_t calls = 0;
    const std::uint64_t id = watcher_->Subscribe({tree->get(),
                                                  {},
                                                  {},
                                                  [&](absl::Span<const model::Change>) {
                                                    const std::lock_guard lock(mutex);
                                                    ++calls;
                                                    called.notify_all();
                                                  },
                                                  [] {}});
    {
      std::unique_lock lock(mutex);
      called.wait(lock, [&] { return calls > 0; });
    }
    watcher_->Unsubscribe(id);
    const std::size_t in_the_end = std::exchange(calls, 0);  // nobody else's any more: no lock
    EXPECT_GT(in_the_end, 0U);
    ASSERT_TRUE(watcher_->Drain(absl::Seconds(20)).ok());
    EXPECT_EQ(calls, 0U);
  }
  ASSERT_EQ(kill(busy, SIGKILL), 0);
  ASSERT_EQ(waitpid(busy, nullptr, 0), busy);
}

TEST_P(WatcherTest, DrainIsCompleteUnderAConstantStream) {
  StartWatching();
  std::vector<pid_t> busy;
  for (int writer = 0; writer < 2; ++writer) {
    busy.push_back(StartProcess([&] {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      const std::string dir = absl::StrCat(source_, "/busy", writer);
      bool well = mkdir(dir.c_str(), 0755) == 0;
      for (int i = 0; well; i = (i + 1) % 500) {
        const std::string file = absl::StrCat(dir, "/", i);
        well = WriteFile(file, "x") && unlink(file.c_str()) == 0 && nanosleep(&kPace, nullptr) == 0;
      }
      return well;
    }));
  }
  for (int round = 0; round < 30; ++round) {
    const std::string marker = absl::StrCat(source_, "/dir/", round);
    InAnotherProcess([&] { return mkdir(marker.c_str(), 0755) == 0; });
    EXPECT_THAT(Told(), Contains(Name(marker)));
  }
  for (const pid_t each : busy) {
    ASSERT_EQ(kill(each, SIGKILL), 0);
    ASSERT_EQ(waitpid(each, nullptr, 0), each);
  }
  EXPECT_LE(told_.largest_call(), 1024U);
  EXPECT_EQ(watcher_->counters().overflows, 0U);
}

TEST_P(WatcherTest, DrainTakesWhatManyReadsHold) {
  constexpr int kFiles = 5000;  // of long names: more than 1 MB of events
  second_ = [this](Watcher&) {
    InAnotherProcess([&] {
      const std::string prefix = source_ + "/dir/" + std::string(200, 'n');
      bool well = true;
      for (int i = 0; well && i < kFiles; ++i) well = WriteFile(absl::StrCat(prefix, i), "x");
      return well && mkdir((source_ + "/last").c_str(), 0755) == 0;
    });
  };
  StartWatching();
  EXPECT_THAT(Told(), Contains(Name(source_ + "/last")));
}

TEST_P(WatcherTest, ManyMayDrainAtOnce) {
  StartWatching();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([this] {
      for (int round = 0; round < 200; ++round) EXPECT_TRUE(watcher_->Drain(absl::Seconds(20)).ok());
    });
  }
  for (std::thread& each : threads) each.join();
}

TEST_P(WatcherTest, DrainGivesUpInTime) {
  const auto mount = ResolveMount(source_);
  ASSERT_TRUE(mount.ok()) << mount.status();
  const auto watcher = Watcher::Open(*mount);
  ASSERT_TRUE(watcher.ok()) << watcher.status();
  EXPECT_FALSE((*watcher)->Drain(absl::Milliseconds(1)).ok());  // nobody reads: it was not started
}

TEST_P(WatcherTest, TellsOfALoneChangeWithoutBeingAsked) {
  StartWatching();
  InAnotherProcess([&] { return mkdir((source_ + "/new").c_str(), 0755) == 0; });
  told_.WaitForAny();
  EXPECT_THAT(told_.Take(), Contains(Name(source_ + "/new")));
}

TEST_P(WatcherTest, ChangesBetweenTheMarkAndTheStartAreTold) {
  second_ = [this](Watcher&) {
    InAnotherProcess([&] { return mkdir((source_ + "/early").c_str(), 0755) == 0; });
  };
  StartWatching();
  EXPECT_THAT(Told(), Contains(Name(source_ + "/early")));
}

TEST_P(WatcherTest, CallsAreBoundedAndDuplicatesCoalesced) {
  constexpr int kFiles = 3000;
  second_ = [this](Watcher&) {
    InAnotherProcess([&] {
      bool well = true;
      for (int i = 0; well && i < kFiles; ++i) well = WriteFile(absl::StrCat(source_, "/dir/", i), "x");
      return well;
    });
    // Another process's event about the same node: not merged by the kernel.
    for (int i = 0; i < 10; ++i) {
      InAnotherProcess([&] { return chmod((source_ + "/dir/7").c_str(), 0600 + i) == 0; });
    }
  };
  StartWatching();
  const std::vector<model::Change> told = Told();
  EXPECT_LE(told_.largest_call(), 1024U);
  const model::FileId seventh = IdOf(source_ + "/dir/7");
  const auto about_it = std::count_if(told.begin(), told.end(), [&](const model::Change& change) {
    return change.kind == model::Change::Kind::kNode && change.id == seventh;
  });
  EXPECT_GE(about_it, 1);
  EXPECT_LE(about_it, 3);  // one in each read at most: the last ten lie in one or two
  EXPECT_GE(told.size(), 2U * kFiles);
}

TEST_P(WatcherTest, UnmountTakesTheMarkAndIsNotPreventedByUs) {
  StartWatching();
  const auto mount = ResolveMount(source_);
  ASSERT_TRUE(mount.ok());
  EXPECT_TRUE(watcher_->MarkAlive());
  EXPECT_TRUE(*IsStillMounted(*mount));
  const absl::Status unmounted = filesystem_->Unmount();
  ASSERT_TRUE(unmounted.ok()) << unmounted;
  EXPECT_FALSE(*IsStillMounted(*mount));
  // The tree's private clone keeps the filesystem itself alive until it is let go.
  watcher_->Drain(absl::Seconds(20)).IgnoreError();
  auto released = std::exchange(tree_, nullptr);
  released.reset();
  const absl::Time limit = absl::Now() + absl::Seconds(20);
  while (watcher_->MarkAlive() && absl::Now() < limit) sched_yield();
  EXPECT_FALSE(watcher_->MarkAlive());
}

}  // namespace
}  // namespace fanmirror::watch
