// What fails between source and target: connections, receivers, files, and a target that is not what it was.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include <random>

#include "absl/strings/str_cat.h"
#include "catalogue/pending_set.h"
#include "os/clock.h"
#include "replicate/back_off.h"
#include "replicate/replicator.h"
#include "replicate/testing/mirror_fixture.h"
#include "wire/frame.h"

namespace fanmirror::replicate {
namespace {

using testing::LinkLife;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ReplicatorFailuresTest : public testing::MirrorTest {
 protected:
  void MakeFiles(const std::string& dir, int count) {
    MakeDir(dir);
    for (int i = 0; i < count; ++i) {
      Write(absl::StrCat(dir, "/", i),
            std::string(static_cast<std::size_t>(500 + i), static_cast<char>('a' + i % 26)));
    }
  }
  // Waits for the mark through connections that die, without the pause before the next.
  void AwaitThroughDeaths() {
    const std::uint64_t mark = replicator_->Mark();
    EXPECT_TRUE(Await([&] {
      if (replicator_->progress().state == State::kConnecting) replicator_->RetryNow();
      return replicator_->Reached(mark);
    })) << Situation();
  }
  // Directories that change places across others, while something comes and goes two levels below.
  void EditDeeper(const std::string& one, const std::string& other, std::mt19937* random) {
    const auto exists = [&](const std::string& path) { return std::filesystem::exists(At("source/" + path)); };
    const std::string file = one + "/deep/" + static_cast<char>('a' + (*random)() % 6);
    if (!exists(one)) MakeDir(one);
    if (!exists(one + "/deep")) MakeDir(one + "/deep");
    if (exists(file)) {
      Remove(file);
    } else {
      Write(file, file);
    }
    if (one == other) {
      Move(one + "/deep", one + "/deeper");
      Move(one + "/deeper", one + "/deep");
    } else if (exists(other)) {
      Move(one, "aside");
      Move(other, one);
      Move("aside", other);
    } else if ((*random)() % 4 == 0) {
      Remove(one);
    } else {
      Move(one, other);
    }
  }
  void EditForAWhile(std::mt19937* random) {
    const auto pick = [&](int count) { return static_cast<int>((*random)() % static_cast<unsigned>(count)); };
    for (int i = 0; i < 40; ++i) {
      const std::string one = absl::StrCat("d", pick(4), "/f", pick(6));
      const std::string two = absl::StrCat("d", pick(4), "/f", pick(6));
      if (pick(8) == 0) {
        const std::string dir = absl::StrCat("d", pick(4));
        Move(dir, "aside");
        MakeDir(dir);
        Move(dir, "aside/into");
        Move("aside", dir);
        if (std::filesystem::exists(At("source/" + dir + "/into/into"))) Remove(dir + "/into/into");
      } else if (pick(4) == 0) {
        EditDeeper(absl::StrCat("d", pick(4), "/s"), absl::StrCat("d", pick(4), "/s"), random);
      } else if (!std::filesystem::exists(At("source/" + one))) {
        Write(one, std::string(static_cast<std::size_t>(pick(2000)), static_cast<char>('a' + pick(26))));
      } else if (pick(3) == 0) {
        Remove(one);
      } else if (pick(2) == 0 && !std::filesystem::exists(At("source/" + two))) {
        Link(one, two);
      } else if (one != two) {
        Move(one, two);
      }
    }
  }
  // Each connection lives longer: what is learnt after one died must be learnt within the next.
  std::uint64_t Patience() const { return 300U * static_cast<unsigned>(connects_.load()); }
  void EditThroughDeaths() {
    constexpr int kConnections = 5;
    constexpr int kRounds = 2000;  // far more than that takes
    std::mt19937 random(GetParam().size());
    for (int round = 0; round < kRounds && connects_ < kConnections; ++round) {
      EditForAWhile(&random);
      if (round % 5 == 4) AwaitThroughDeaths();
    }
    EXPECT_GE(connects_, kConnections);
    AwaitThroughDeaths();
    ExpectMirrored();
  }
  void Copy(const std::string& from, const std::string& to) {
    const absl::Status copied = os::testing::RunCommand({"cp", "-a", At(from), At(to)});
    ASSERT_TRUE(copied.ok()) << copied;
  }
  static constexpr int kMoments = 12;
  void ComeBackBeforeTheRemovalFails(int moment) {
    const std::string back = absl::StrCat("back", moment);
    MakeFiles("dir", 5);
    AwaitThroughDeaths();
    ExpectMirrored();
    WriteFile("target/dir/of nobody", "text");
    Write("large", std::string(std::size_t{4} << 20, static_cast<char>('a' + moment)));  // keeps the first batch under way
    Move("dir", "../outside");
    Write("dir", "a file now");  // so what was there goes by way of limbo
    absl::SleepFor(absl::Milliseconds(2 * moment));
    Move("../outside", back);
    Write(back + "/3", "changed");
    AwaitThroughDeaths();
    std::filesystem::remove(At("target/" + back + "/of nobody"));  // it may have been renamed with the directory
    Write(back + "/3", "changed again");                            // so that the directory gets its times again
    AwaitThroughDeaths();
    ExpectMirrored();
    Remove("dir");
    Remove(back);
  }
  // Of what a source writes: true once it has sent a batch and then asks for a listing.
  static std::function<bool(absl::Span<const char>)> AListingAfterABatch() {
    return [decoder = std::make_shared<wire::Decoder>(wire::Decoder::Start::kAtFrame),
            batch = false](absl::Span<const char> written) mutable {
      std::string_view bytes(written.data(), written.size());
      while (!bytes.empty()) {
        bytes.remove_prefix(decoder->Feed(bytes));
        for (auto frame = decoder->Next(); frame.ok() && *frame; frame = decoder->Next()) {
          batch = batch || (*frame)->type == wire::FrameType::kBatchEnd;
          if (batch && (*frame)->type == wire::FrameType::kList) return true;
        }
      }
      return false;
    };
  }
  void RemoveBatchNumbers() {
    int removed = 0;
    for (const auto& entry : std::filesystem::directory_iterator(At("target/.fanmirror"))) {
      if (entry.path().filename().string().starts_with("at."))
        removed += std::filesystem::remove(entry.path());
    }
    EXPECT_EQ(removed, 1);
  }
  std::string BatchNumbers(const std::string& target) {
    for (const auto& entry : std::filesystem::directory_iterator(At(target + "/.fanmirror"))) {
      if (entry.path().filename().string().starts_with("at.")) return entry.path().filename().string();
    }
    return {};
  }
  bool SameBatchNumbers(const std::string& one, const std::string& other) {
    return BatchNumbers(one) == BatchNumbers(other);
  }
  bool HasImmutable() {
    const os::UniqueFd fd(::open(At("source").c_str(), O_RDONLY | O_CLOEXEC));
    int flags = 0;
    return ::ioctl(fd.get(), FS_IOC_GETFLAGS, &flags) == 0;
  }
  void SetImmutable(const std::string& path, bool immutable) {
    const os::UniqueFd fd(::open(At(path).c_str(), O_RDONLY | O_CLOEXEC));
    int flags = 0;
    ASSERT_EQ(::ioctl(fd.get(), FS_IOC_GETFLAGS, &flags), 0);
    flags = immutable ? flags | FS_IMMUTABLE_FL : flags & ~FS_IMMUTABLE_FL;
    ASSERT_EQ(::ioctl(fd.get(), FS_IOC_SETFLAGS, &flags), 0);
  }
};

INSTANTIATE_TEST_SUITE_P(On, ReplicatorFailuresTest, ::testing::Values("tmpfs", "ext4"),
                         [](const auto& instance) { return instance.param; });

TEST_P(ReplicatorFailuresTest, TheFirstSyncGetsThroughConnectionsThatDie) {
  MakeFiles("dir", 300);
  life_ = [this] { return testing::LinkLife{.written = 20'000U * static_cast<unsigned>(connects_.load())}; };
  Start();
  AwaitThroughDeaths();
  ExpectMirrored();
  EXPECT_GT(connects_, 5);
}

TEST_P(ReplicatorFailuresTest, ChangesGetThroughConnectionsThatDie) {
  for (int i = 0; i < 4; ++i) MakeDir(absl::StrCat("d", i));
  std::mt19937 lives(3);  // of the session's threads, of which there is one at a time
  life_ = [&] { return testing::LinkLife{.written = 300 + lives() % 30'000 + Patience()}; };
  Start();
  EditThroughDeaths();
}

// What was applied, and the source does not know.
TEST_P(ReplicatorFailuresTest, ChangesGetThroughLostAcknowledgements) {
  for (int i = 0; i < 4; ++i) MakeDir(absl::StrCat("d", i));
  std::mt19937 lives(5);
  life_ = [&] { return testing::LinkLife{.read = 120 + lives() % 600 + Patience()}; };
  Start();
  EditThroughDeaths();
}

TEST_P(ReplicatorFailuresTest, AReplicatorThatDiesInTheMidstGoesOnWhereItWas) {
  for (int i = 0; i < 4; ++i) MakeDir(absl::StrCat("d", i));
  std::mt19937 lives(11);
  life_ = [&] { return testing::LinkLife{.written = 1'000 + lives() % 60'000 + Patience()}; };
  std::mt19937 random(GetParam().size());
  for (int round = 0; round < 8; ++round) {
    const int before = connects_;
    Start();
    EditForAWhile(&random);
    EXPECT_TRUE(Await([&] { return connects_ > before; }));
    Stop();
    EditForAWhile(&random);  // untold
  }
  Start();
  AwaitThroughDeaths();
  ExpectMirrored();
}

TEST_P(ReplicatorFailuresTest, NothingIsReachedWithoutAConnection) {
  std::atomic<bool> reachable = false;
  life_ = [&]() -> absl::StatusOr<testing::LinkLife> {
    if (reachable) return testing::LinkLife{};
    return model::Failure(model::Reaction::kReconnect, "no route to the target");
  };
  Write("file", "text");
  Start();
  const std::uint64_t mark = replicator_->Mark();
  AwaitProgress([](const Progress& now) { return now.last_error == "no route to the target"; });
  EXPECT_TRUE(Await([&] { return connects_ >= 2; })) << "no second try";
  EXPECT_FALSE(replicator_->Reached(mark));
  EXPECT_EQ(replicator_->progress().state, State::kConnecting);
  EXPECT_GT(replicator_->progress().pending, 0U);
  EXPECT_GT(replicator_->progress().lag_seconds, 0);
  reachable = true;
  replicator_->RetryNow();
  EXPECT_TRUE(Await([&] { return replicator_->Reached(mark); })) << Situation();
  ExpectMirrored();
  AwaitProgress([](const Progress& now) { return now.last_error.empty(); });
}

TEST_P(ReplicatorFailuresTest, ARefusalIsShownAndTriedAgain) {
  MakeDirectory("target");
  WriteFile("target/theirs", "text");
  Write("mine", "text");
  Start();
  AwaitProgress([](const Progress& now) { return now.last_error.find("no marker") != std::string::npos; });
  EXPECT_TRUE(Await([&] { return connects_ >= 3; })) << "no further try";
  EXPECT_EQ(replicator_->progress().state, State::kConnecting);
  EXPECT_THAT(replicator_->progress().last_error, HasSubstr("it holds data"));
  EXPECT_FALSE(std::filesystem::exists(At("target/mine")));
  EXPECT_EQ(testing::Contents(At("target/theirs")), "text");
  std::filesystem::remove(At("target/theirs"));
  replicator_->RetryNow();
  ExpectMirrored();
  AwaitProgress([](const Progress& now) { return now.last_error.empty(); });
}

TEST_P(ReplicatorFailuresTest, ATargetThatIsAdoptedGetsOnlyWhatDiffers) {
  MakeFiles("dir", 50);
  Copy("source", "target");
  Write("dir/7", "other text");
  MakeDirectory("target/dir/extra");
  WriteFile("target/dir/extra/file", "text");
  Rename("target/dir/8", "target/dir/extra/8");
  // A file that is read so soon after its last change is racily clean, and an adopted one then sent whole.
  const std::int64_t written = os::RealtimeNs();
  EXPECT_TRUE(Await([&] { return os::RealtimeNs() - written > os::kRacyWindowNs; }));
  Options options = MakeOptions();
  options.adopt = true;
  Start(options);
  ExpectMirrored();
  AwaitProgress([](const Progress& now) { return now.acked_files == 2; });
}

TEST_P(ReplicatorFailuresTest, ATargetBehindItsCatalogueIsComparedAnew) {
  MakeFiles("dir", 50);
  MakeDir("moved");
  Write("moved/file", "text");
  Start();
  ExpectMirrored();
  Stop();
  Copy("target", "backup");
  Start();
  Write("dir/7", "other text");
  Remove("dir/8");
  Write("dir/new", "text");
  Move("moved", "dir/moved");
  Link("dir/9", "again");
  ExpectMirrored();
  Stop();
  std::filesystem::remove_all(At("target"));
  Copy("backup", "target");
  Start();
  ExpectMirrored();
  EXPECT_LT(replicator_->progress().acked_files, 10U);
}

// It is made anew before it is known that what the target had of it could not be removed: whenever, both are told apart.
TEST_P(ReplicatorFailuresTest, ADirectoryThatComesBackBeforeItsRemovalFails) {
  Start();
  for (int moment = 0; moment < kMoments; ++moment) ComeBackBeforeTheRemovalFails(moment);
  ExpectMirrored();
}

// Also by the next connection, or the next process, when this one ends before it could ask for both.
TEST_P(ReplicatorFailuresTest, WhatFailedOpsLeftIsAskedForAfterALostConnection) {
  life_ = [] { return LinkLife{.ends_with = AListingAfterABatch()}; };
  Start();
  for (int moment = 0; moment < kMoments; ++moment) ComeBackBeforeTheRemovalFails(moment);
  ExpectMirrored();
  EXPECT_GT(connects_, 1);
}

// After that, too: whatever numbers its later states have, they are of a history that came to nothing.
TEST_P(ReplicatorFailuresTest, ATargetThatGoesBackAndThenForwardIsComparedAnew) {
  Write("file", "text");
  Start();
  ExpectMirrored();
  Stop();
  Copy("target", "older");
  for (int i = 0; i < 3; ++i) {
    Start();
    Write(absl::StrCat("lost", i), "text");
    ExpectMirrored();
    Stop();
  }
  Copy("target", "newer");
  const auto become = [&](const std::string& state) {
    std::filesystem::remove_all(At("target"));
    Copy(state, "target");
  };
  become("older");
  for (int i = 0; i < 6 && !SameBatchNumbers("target", "newer"); ++i) {
    Start();
    Write(absl::StrCat("lost", i % 3), absl::StrCat("changed ", i));
    ExpectMirrored();
    Stop();
  }
  become("newer");
  Start();
  ExpectMirrored();
}

// As a snapshot has it that was taken in the midst of the last batch.
TEST_P(ReplicatorFailuresTest, WhatTheTargetDoesNotKnowToBeDurableIsListed) {
  Write("file", "text");
  Start();
  ExpectMirrored();
  Write("file", "new text");
  ExpectMirrored();
  Stop();
  WriteFile("target/file", "text");
  const std::string home = "target/.fanmirror/";
  const std::string numbers = BatchNumbers("target");
  const std::string begun = numbers.substr(0, numbers.rfind('.'));
  const int durable = std::stoi(begun.substr(begun.find('.') + 1));
  ASSERT_EQ(numbers, absl::StrCat(begun, ".", durable)) << "all is durable";
  Rename(home + numbers, absl::StrCat(home, begun, ".", durable - 1));
  Start();
  ExpectMirrored();
}

TEST_P(ReplicatorFailuresTest, ATargetThatForgotItsBatchesIsComparedAnew) {
  MakeFiles("dir", 50);
  Start();
  ExpectMirrored();
  Stop();
  RemoveBatchNumbers();
  for (int i = 0; i < 30; ++i) std::filesystem::remove(At(absl::StrCat("target/dir/", i)));
  WriteFile("target/dir/40", "spoilt");
  Start();
  ExpectMirrored();
  AwaitProgress([](const Progress& now) { return now.acked_files == 31; });
}

TEST_P(ReplicatorFailuresTest, ALostCatalogueIsLearntAnew) {
  MakeFiles("dir", 50);
  Start();
  ExpectMirrored();
  Stop();
  Remove("dir/3");
  std::filesystem::remove_all(state_->path() + "/state");
  Options options = MakeOptions();
  options.adopt = true;  // another instance
  Start(options);
  ExpectMirrored();
  EXPECT_EQ(replicator_->progress().acked_files, 0U);
}

TEST_P(ReplicatorFailuresTest, OneFileThatFailsHoldsUpNoOther) {
  if (!HasImmutable()) GTEST_SKIP() << "this kernel has no immutable files on " << GetParam();
  MakeDir("dir");
  Write("dir/stuck", "text");
  Write("dir/other", "text");
  Start();
  ExpectMirrored();
  SetImmutable("target/dir/stuck", true);
  Write("dir/stuck", "new text");
  const std::uint64_t mark = replicator_->Mark();
  Write("dir/other", "new text");
  Write("dir/fresh", "new text");
  EXPECT_TRUE(Await([&] { return testing::Contents(At("target/dir/fresh")) == "new text"; })) << Situation();
  EXPECT_TRUE(Await([&] { return testing::Contents(At("target/dir/other")) == "new text"; })) << Situation();
  AwaitProgress([](const Progress& now) { return now.last_error.find("stuck") != std::string::npos; });
  EXPECT_GT(replicator_->progress().failed_ops, 0U);
  EXPECT_EQ(replicator_->progress().state, State::kLive);
  EXPECT_FALSE(replicator_->Reached(mark));
  EXPECT_EQ(testing::Contents(At("target/dir/stuck")), "text");

  SetImmutable("target/dir/stuck", false);
  Chmod("dir/stuck", 0600);  // a fresh change is a reason to try soon
  ExpectMirrored();
  AwaitProgress([](const Progress& now) { return now.last_error.empty() && now.pending == 0; });
}

// However soon a fresh change had it tried.
TEST_P(ReplicatorFailuresTest, WhatFailsAgainWaitsLonger) {
  if (!HasImmutable()) GTEST_SKIP() << "this kernel has no immutable files on " << GetParam();
  Write("stuck", "text");
  Start();
  ExpectMirrored();
  SetImmutable("target/stuck", true);
  std::string error;
  const auto await_another_error = [&] {
    AwaitProgress([&](const Progress& now) {
      if (now.failing.size() != 1 || now.failing[0].error == error) return false;
      error = now.failing[0].error;
      return true;
    });
  };
  Chmod("stuck", 0600);
  await_another_error();
  WriteFile("source/stuck", "new text");
  Tell({Node("stuck", /*content=*/true)});  // which cuts the first pause short
  await_another_error();
  Stop();
  SetImmutable("target/stuck", false);
  const auto pending = catalogue::PendingSet::Open(state_->path() + "/state/pending", os::BootId(), {});
  ASSERT_TRUE(pending.ok()) << pending.status();
  const auto failing = (*pending)->Failing(2);
  ASSERT_EQ(failing.size(), 1U);
  EXPECT_EQ(failing[0].attempts, 2);
  const std::int64_t pause = failing[0].due_ns - os::BoottimeNs();
  EXPECT_GT(pause, BackOff(model::Reaction::kSkipAndReport, 0)) << error;
  EXPECT_LE(pause, BackOff(model::Reaction::kSkipAndReport, 1)) << error;
}

TEST_P(ReplicatorFailuresTest, ANameThatCannotFollowItsFileIsNotTakenForWhole) {
  if (!HasImmutable()) GTEST_SKIP() << "this kernel has no immutable files on " << GetParam();
  for (const char* dir : {"one", "two"}) MakeDir(dir);
  Write("one/file", "text");
  Link("one/file", "two/file");
  Start();
  ExpectMirrored();
  // By the first name, in the order of the directories' ids, the file is put; the other follows.
  const bool one_is_first = IdOf("source/one") < IdOf("source/two");
  const std::string first = one_is_first ? "one" : "two", other = one_is_first ? "two" : "one";
  SetImmutable("target/" + other, true);
  Write("one/file", "new text");
  EXPECT_TRUE(Await([&] { return testing::Contents(At("target/" + first + "/file")) == "new text"; })) << Situation();
  AwaitProgress([&](const Progress& now) { return now.last_error.find(other + "/file") != std::string::npos; });
  EXPECT_EQ(testing::Contents(At("target/" + other + "/file")), "text");

  Remove(first + "/file");
  SetImmutable("target/" + other, false);
  ExpectMirrored();
  AwaitProgress([](const Progress& now) { return now.last_error.empty() && now.pending == 0; });
}

// What somebody else did to the target is found by the op that meets it.
TEST_P(ReplicatorFailuresTest, ATargetThatWasChangedByOthersIsLookedAtAgain) {
  MakeDir("dir");
  MakeDir("dir/sub");
  Write("dir/sub/file", "text");
  Write("one", "text");
  Start();
  ExpectMirrored();
  std::filesystem::remove_all(At("target/dir"));
  std::filesystem::remove(At("target/one"));
  MakeDirectory("target/one");
  WriteFile("target/one/theirs", "text");
  Write("dir/sub/new", "text");
  Write("one", "new text");
  ExpectMirrored();
}

}  // namespace
}  // namespace fanmirror::replicate
