#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <csignal>
#include <string>

#include "absl/strings/str_cat.h"
#include "watch/kept_buffer.h"
#include "watch/testing/watched_filesystem.h"

namespace fanmirror::watch {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::uint64_t kToken = 4711;

// A watch that loses its process, or what it says of itself, and is taken over.
class ContinueTest : public WatchedFilesystem {
 protected:
  // The descriptors, as a service manager would hold them.
  KeptWatch Keep() const {
    const auto [queue, buffer] = watcher_->descriptors();
    return {Duplicate(queue), Duplicate(buffer)};
  }
  static os::UniqueFd Duplicate(int fd) { return os::UniqueFd(fcntl(fd, F_DUPFD_CLOEXEC, 0)); }
  absl::StatusOr<std::unique_ptr<Watcher>> Continue(KeptWatch kept, QueueBound bound = QueueBound::kUnlimited) {
    const auto mount = ResolveMount(source_);
    EXPECT_TRUE(mount.ok()) << mount.status();
    return Watcher::Continue(std::move(kept), *mount, bound);
  }
  std::string WhyNot(KeptWatch kept, QueueBound bound = QueueBound::kUnlimited) {
    return std::string(Continue(std::move(kept), bound).status().message());
  }
  // Ends the watcher that runs, and takes its watch over.
  void TakeOver() {
    KeptWatch kept = Keep();
    watcher_.reset();
    auto next = Continue(std::move(kept));
    ASSERT_TRUE(next.ok()) << next.status();
    watcher_ = *std::move(next);
    id_ = Subscribe(*watcher_);
  }
  std::uint64_t Subscribe(Watcher& watcher) {
    return watcher.Subscribe({tree_.get(), {}, {},
                              [this](absl::Span<const model::Change> changes) { told_.Add(changes); },
                              [this] { told_.AddLoss(); }});
  }
  void MakeDirectory(const std::string& name) {
    InAnotherProcess([&] { return mkdir((source_ + "/" + name).c_str(), 0755) == 0; });
  }
  std::uint64_t id_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Filesystems, ContinueTest, ::testing::ValuesIn(WatchedFilesystems()), TestName);

TEST_P(ContinueTest, WhatChangesBetweenTwoProcessesIsTold) {
  StartWatching();
  KeptWatch kept = Keep();
  watcher_.reset();
  MakeDirectory("between");
  auto next = Continue(std::move(kept));
  ASSERT_TRUE(next.ok()) << next.status();
  watcher_ = *std::move(next);
  Subscribe(*watcher_);
  MakeDirectory("before the start");
  watcher_->Start();
  MakeDirectory("after");
  EXPECT_THAT(Told(), ElementsAre(Name(source_ + "/between"), Name(source_ + "/before the start"),
                                  Name(source_ + "/after")));
  EXPECT_EQ(told_.losses(), 0);
}

TEST_P(ContinueTest, AProcessOfTheSameIdBeforeIsAnother) {
  StartWatching();
  KeptWatch kept = Keep();
  watcher_.reset();
  // As if by a process that had our id before us.
  ASSERT_EQ(mkdir((source_ + "/between").c_str(), 0755), 0);
  auto next = Continue(std::move(kept));
  ASSERT_TRUE(next.ok()) << next.status();
  watcher_ = *std::move(next);
  Subscribe(*watcher_);
  watcher_->Start();
  EXPECT_THAT(Told(), ElementsAre(Name(source_ + "/between")));
  ASSERT_EQ(mkdir((source_ + "/ours").c_str(), 0755), 0);
  EXPECT_THAT(Told(), IsEmpty());
}

TEST_P(ContinueTest, WhatWasReadAndNotClearedIsToldAgain) {
  StartWatching();
  KeptWatch kept = Keep();
  watcher_.reset();
  MakeDirectory("read");
  {
    const auto buffer = KeptBuffer::Map(Duplicate(kept.buffer.get()));
    ASSERT_TRUE(buffer.ok()) << buffer.status();
    ASSERT_GT(read(kept.queue.get(), buffer->region().data(), buffer->region().size()), 0);
  }
  MakeDirectory("queued");
  auto next = Continue(std::move(kept));
  ASSERT_TRUE(next.ok()) << next.status();
  watcher_ = *std::move(next);
  Subscribe(*watcher_);
  watcher_->Start();
  EXPECT_THAT(Told(), ElementsAre(Name(source_ + "/read"), Name(source_ + "/queued")));
  TakeOver();
  watcher_->Start();
  EXPECT_THAT(Told(), IsEmpty()) << "it was noted, and is told no more";
}

TEST_P(ContinueTest, ATokenStaysCompleteForWhoeverAsksForIt) {
  StartWatching();
  watcher_->SetComplete(Subscribe(*watcher_), kToken);
  watcher_->SetComplete(Subscribe(*watcher_), kToken + 1);
  watcher_->SetIncomplete(kToken + 1);  // it could not note something
  TakeOver();
  EXPECT_TRUE(watcher_->IsComplete(id_, kToken));
  EXPECT_FALSE(watcher_->IsComplete(id_, kToken + 1));
  watcher_->Start();
  TakeOver();
  watcher_.reset();  // killed before it starts: nothing was told meanwhile
}

TEST_P(ContinueTest, ATokenThatNobodyAskedForIsForgottenAtTheStart) {
  StartWatching();
  watcher_->SetComplete(Subscribe(*watcher_), kToken);
  TakeOver();
  TakeOver();  // was not started: its region and its queue are as they were
  watcher_->Start();
  TakeOver();
  EXPECT_FALSE(watcher_->IsComplete(id_, kToken));
}

TEST_P(ContinueTest, ATokenEndsWithItsSubscription) {
  StartWatching();
  const std::uint64_t id = Subscribe(*watcher_);
  watcher_->SetComplete(id, kToken);
  watcher_->Unsubscribe(id);
  TakeOver();
  EXPECT_FALSE(watcher_->IsComplete(id_, kToken));
}

TEST_P(ContinueTest, AfterAStopEverythingStaysAsItIs) {
  StartWatching();
  const std::uint64_t id = Subscribe(*watcher_);
  watcher_->SetComplete(id, kToken);
  watcher_->Stop();
  MakeDirectory("later");
  watcher_->SetIncomplete(kToken);
  watcher_->Unsubscribe(id);
  EXPECT_THAT(told_.Take(), IsEmpty());
  TakeOver();
  EXPECT_TRUE(watcher_->IsComplete(id_, kToken));
  watcher_->Start();
  EXPECT_THAT(Told(), ElementsAre(Name(source_ + "/later")));
}

TEST_P(ContinueTest, NothingIsTakenOverThatIsNotOfThisWatch) {
  StartWatching();
  EXPECT_EQ(Watcher::FilesystemOf(watcher_->descriptors().second), ResolveMount(source_)->filesystem);
  EXPECT_EQ(Watcher::FilesystemOf(watcher_->descriptors().first), "");
  EXPECT_THAT(WhyNot(Keep(), QueueBound::kSystem), HasSubstr("by another version or another configuration"));
  KeptWatch swapped = Keep();
  std::swap(swapped.queue, swapped.buffer);
  EXPECT_THAT(WhyNot(std::move(swapped)), HasSubstr("of something else"));
  KeptWatch other = Keep();
  other.queue.reset(open("/dev/null", O_RDONLY | O_CLOEXEC));
  EXPECT_THAT(WhyNot(std::move(other)), HasSubstr("was unmounted since they were kept"));
  // Into the boot id, which follows magic, format, stage, flags and mask.
  KeptWatch earlier = Keep();
  ASSERT_EQ(pwrite(earlier.buffer.get(), "another", 7, 32), 7);
  EXPECT_THAT(WhyNot(std::move(earlier)), HasSubstr("from before the host was booted"));
}

TEST_P(ContinueTest, AnUnmountInBetweenEndsIt) {
  StartWatching();
  KeptWatch kept = Keep();
  watcher_.reset();
  tree_.reset();
  const absl::Status unmounted = filesystem_->Unmount();
  ASSERT_TRUE(unmounted.ok()) << unmounted;
  ASSERT_TRUE(filesystem_->WaitUntilReleased().ok());
  ASSERT_TRUE(filesystem_->Mount(GetParam() == "btrfs-subvolume" ? "subvol=@" : "").ok());
  ASSERT_TRUE(mkdir(source_.c_str(), 0755) == 0 || errno == EEXIST);  // a tmpfs begins anew
  EXPECT_FALSE(Continue(std::move(kept)).ok());
}

// A child reads and notes, and is killed again and again; what it noted and what is left is all that happened.
TEST_P(ContinueTest, AKillAtAnyInstantLosesNoEvent) {
  StartWatching();
  KeptWatch kept = Keep();
  watcher_.reset();
  constexpr int kFiles = 8'000;
  // What stands for the pending set: it survives the child.
  void* shared = mmap(nullptr, kFiles, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  ASSERT_NE(shared, MAP_FAILED);
  auto* noted = static_cast<char*>(shared);
  const pid_t writer = StartProcess([&] {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    bool well = true;
    for (int i = 0; well && i < kFiles; ++i) {
      const std::string dir = absl::StrCat(source_, "/dir/", i);
      well = mkdir(dir.c_str(), 0755) == 0 && rmdir(dir.c_str()) == 0;
    }
    return well;
  });
  const auto reader = [&](bool to_the_end) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    auto next = Continue({Duplicate(kept.queue.get()), Duplicate(kept.buffer.get())});
    if (!next.ok()) return false;
    (*next)->Subscribe({tree_.get(), {}, {},
                        [&](absl::Span<const model::Change> changes) {
                          for (const auto& each : changes) {
                            if (!each.name.empty()) noted[std::stoi(each.name)] = 1;
                          }
                        },
                        [] { _exit(3); }});
    (*next)->Start();
    if (to_the_end) return (*next)->Drain(absl::Seconds(60)).ok();
    pause();
    return true;
  };
  int kills = 0;
  for (int status = 0; waitpid(writer, &status, WNOHANG) == 0; ++kills) {
    const pid_t child = StartProcess([&] { return reader(false); });
    usleep(static_cast<useconds_t>(1000 + kills * 7919 % 20'000));
    ASSERT_EQ(kill(child, SIGKILL), 0);
    int ended = 0;
    ASSERT_EQ(waitpid(child, &ended, 0), child);
    ASSERT_TRUE(WIFSIGNALED(ended)) << "it ended by itself: " << ended;
  }
  InAnotherProcess([&] { return reader(true); });
  const int missing = static_cast<int>(std::count(noted, noted + kFiles, 0));
  EXPECT_EQ(missing, 0) << "after " << kills << " kills";
  EXPECT_GT(kills, 1);
  munmap(shared, kFiles);
}

}  // namespace
}  // namespace fanmirror::watch
