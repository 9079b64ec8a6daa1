#include "replicate/replicator.h"

#include <fcntl.h>
#include <sys/xattr.h>

#include <filesystem>
#include <random>
#include <set>

#include "absl/strings/str_cat.h"
#include "replicate/testing/mirror_fixture.h"

namespace fanmirror::replicate {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string RandomBytes(std::size_t size) {
  std::mt19937_64 random(size);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

class ReplicatorTest : public testing::MirrorTest {
 protected:
  // Six nodes that are not directories.
  void MakeSource() {
    MakeDir("dir");
    MakeDir("dir/sub");
    MakeDir("empty");
    Write("dir/file", "text");
    Write("dir/sub/nothing", "");
    Link("dir/file", "dir/sub/again");
    Write("large", RandomBytes(3'000'000));
    ASSERT_EQ(::symlink("dir/file", At("source/link").c_str()), 0);
    ASSERT_EQ(::mkfifo(At("source/fifo").c_str(), 0640), 0);
    ASSERT_EQ(::setxattr(At("source/dir/file").c_str(), "trusted.note", "kept", 4, 0), 0);
    ASSERT_EQ(::chown(At("source/dir/file").c_str(), 12, 34), 0);
    Chmod("dir/file", 04750);
    Chmod("dir/sub", 01777);
  }
};

INSTANTIATE_TEST_SUITE_P(On, ReplicatorTest, ::testing::Values("tmpfs", "ext4"),
                         [](const auto& instance) { return instance.param; });

TEST_P(ReplicatorTest, TheFirstSyncBringsAll) {
  MakeSource();
  Start();
  ExpectMirrored();
  AwaitProgress([](const Progress& now) { return now.state == State::kLive && now.acked_files == 5; });
  const Progress now = replicator_->progress();
  EXPECT_EQ(now.acked_bytes, 3'000'004U);
  EXPECT_EQ(now.failed_ops, 0U);
  EXPECT_EQ(now.pending, 0U);
  EXPECT_EQ(now.lag_seconds, 0);
  EXPECT_EQ(now.last_error, "");
  EXPECT_GT(now.wire_bytes_sent, 3'000'000U);
}

TEST_P(ReplicatorTest, ChangesAreFollowed) {
  MakeSource();
  Start();
  AwaitReached();
  Write("dir/file", "other text");
  Write("new", "text");
  MakeDir("dir/fresh");
  Move("dir/sub/nothing", "dir/fresh/moved");
  ExpectMirrored();
  Remove("dir/file");  // its other name stays
  Move("dir/fresh", "fresh");
  Chmod("large", 0600);
  ExpectMirrored();
  Move("fresh", "dir/sub/fresh");
  Move("dir/sub", "sub");
  Move("dir", "sub/dir");  // below what was below it
  ExpectMirrored();
  Remove("sub");
  ExpectMirrored();
}

TEST_P(ReplicatorTest, ARenameSendsNoContent) {
  Write("one", RandomBytes(100'000));
  Write("two", RandomBytes(100'001));
  Start();
  AwaitReached();
  AwaitProgress([](const Progress& now) { return now.acked_files == 2; });
  Move("one", "third");
  Move("two", "one");
  Move("third", "two");
  ExpectMirrored();
  EXPECT_EQ(replicator_->progress().acked_files, 2U);
  EXPECT_LT(replicator_->progress().wire_bytes_sent, 230'000U);
}

TEST_P(ReplicatorTest, ChurnEndsInEquality) {
  Start();
  std::mt19937 random(7);
  const auto pick = [&](int count) { return static_cast<int>(random() % static_cast<unsigned>(count)); };
  const auto path = [&] { return absl::StrCat("d", pick(3), "/f", pick(8)); };
  for (int i = 0; i < 3; ++i) MakeDir(absl::StrCat("d", i));
  for (int i = 0; i < 600; ++i) {
    const std::string one = path();
    const std::string two = path();
    const bool exists = std::filesystem::exists(At("source/" + one));
    const int kind = pick(6);
    if (!exists || kind == 0) {
      Write(one, RandomBytes(static_cast<std::size_t>(pick(3000))));
    } else if (kind == 1) {
      Remove(one);
    } else if (kind == 2 && !std::filesystem::exists(At("source/" + two))) {
      Link(one, two);
    } else if (kind == 3) {
      Chmod(one, static_cast<mode_t>(0600 + pick(64)));
    } else if (one != two) {
      Move(one, two);
    }
    if (i % 60 == 59) AwaitReached();
  }
  ExpectMirrored();
  EXPECT_EQ(replicator_->progress().last_error, "");
}

TEST_P(ReplicatorTest, ASparseFileArrivesWithItsHoles) {
  const os::UniqueFd fd(::open(At("source/sparse").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
  const std::string data = RandomBytes(5000);
  ASSERT_EQ(::pwrite(fd.get(), data.data(), data.size(), 1 << 20), 5000);
  ASSERT_EQ(::pwrite(fd.get(), data.data(), data.size(), 5 << 20), 5000);
  ASSERT_EQ(::ftruncate(fd.get(), 64 << 20), 0);
  const os::UniqueFd hole(::open(At("source/hole").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
  ASSERT_EQ(::ftruncate(hole.get(), 1 << 20), 0);
  Start();
  ExpectMirrored();
  struct stat st {};
  ASSERT_EQ(::stat(At("target/sparse").c_str(), &st), 0);
  EXPECT_LT(st.st_blocks * 512, 100'000);
  EXPECT_EQ(replicator_->progress().failed_ops, 0U);
  EXPECT_LT(replicator_->progress().wire_bytes_sent, 100'000U);
}

TEST_P(ReplicatorTest, ASecondStartSendsNothing) {
  MakeSource();
  Start();
  ExpectMirrored();
  Restart();
  ExpectMirrored();
  AwaitProgress([](const Progress& now) { return now.state == State::kLive && now.scans == 1; });
  const Progress now = replicator_->progress();
  EXPECT_EQ(now.acked_files, 0U);
  EXPECT_EQ(now.acked_bytes, 0U);
  EXPECT_LT(now.wire_bytes_sent, 10'000U);
}

TEST_P(ReplicatorTest, TheScanOfAStartFindsWhatHappenedMeanwhile) {
  MakeSource();
  Start();
  ExpectMirrored();
  Stop();
  Write("dir/file", "other text");
  Move("large", "empty/moved");
  Remove("link");
  MakeDir("fresh");
  Write("fresh/file", "text");
  Start();
  ExpectMirrored();
  AwaitProgress([](const Progress& now) { return now.acked_files == 2; });
  EXPECT_EQ(replicator_->progress().acked_bytes, 14U);
}

TEST_P(ReplicatorTest, ARescanFindsWhatWasNotTold) {
  MakeSource();
  Start();
  AwaitReached();
  WriteFile("source/untold", "text");
  Rename("source/large", "source/dir/untold");
  replicator_->Rescan();
  ExpectMirrored();
}

TEST_P(ReplicatorTest, NoDeleteWhileRunningWhenToldSo) {
  Options options = MakeOptions();
  options.delete_while_running = false;
  Write("running", "text");
  Write("stopped", "text");
  Start(options);
  ExpectMirrored();
  Remove("running");
  AwaitReached();
  EXPECT_TRUE(std::filesystem::exists(At("target/running")));
  Stop();
  Remove("stopped");
  Start(options);
  AwaitReached();
  EXPECT_FALSE(std::filesystem::exists(At("target/stopped")));
}

TEST_P(ReplicatorTest, WhatIsExcludedIsNeitherSentNorTouched) {
  Options options = MakeOptions();
  options.filter = *select::Filter::Compile(*select::ParseFilterLine("- *.tmp"));
  options.ignored = {"ignored"};
  MakeDirectory("target");
  MakeDirectory("target/ignored");
  WriteFile("target/theirs.tmp", "text");
  WriteFile("target/ignored/file", "text");
  options.adopt = true;
  Write("mine.tmp", "text");
  MakeDir("ignored");
  Write("ignored/mine", "text");
  Write("file", "text");
  Start(options);
  AwaitReached();
  EXPECT_EQ(testing::Contents(At("target/file")), "text");
  EXPECT_EQ(testing::Contents(At("target/theirs.tmp")), "text");
  EXPECT_EQ(testing::Contents(At("target/ignored/file")), "text");
  EXPECT_FALSE(std::filesystem::exists(At("target/mine.tmp")));
  EXPECT_FALSE(std::filesystem::exists(At("target/ignored/mine")));
  Move("file", "file.tmp");
  AwaitReached();
  EXPECT_FALSE(std::filesystem::exists(At("target/file")));
  EXPECT_FALSE(std::filesystem::exists(At("target/file.tmp")));
}

TEST_P(ReplicatorTest, TheBandwidthLimitHolds) {
  constexpr std::uint64_t kLimit = 2 << 20;
  constexpr std::size_t kSize = 5 << 20;
  Write("large", RandomBytes(kSize));
  Options options = MakeOptions();
  options.bandwidth_limit = kLimit;
  const absl::Time begin = absl::Now();
  Start(options);
  ExpectMirrored();
  const double seconds = absl::ToDoubleSeconds(absl::Now() - begin);
  EXPECT_GT(seconds, 0.9 * kSize / kLimit);
  EXPECT_LT(seconds, 4.0 * kSize / kLimit);
}

TEST_P(ReplicatorTest, AnotherSourceIsRefused) {
  Write("file", "text");
  Start();
  ExpectMirrored();
  Stop();
  OpenTree(At("outside"));
  const auto other = Replicator::Open(MakeOptions());
  ASSERT_FALSE(other.ok());
  EXPECT_EQ(model::ReactionOf(other.status()), model::Reaction::kHaltJob);
  OpenTree(At("source"));
  Options options = MakeOptions();
  options.filesystem = "another filesystem";
  EXPECT_FALSE(Replicator::Open(options).ok());
  EXPECT_EQ(testing::Contents(At("target/file")), "text");
}

// A watch that remembers pending sets over restarts.
class KeptWatchTest : public testing::MirrorTest {
 protected:
  Options MakeOptions() override {
    Options options = MirrorTest::MakeOptions();
    options.memory = {[this](std::uint64_t token) { return complete_.contains(token); },
                      [this](std::uint64_t token) { complete_.insert(token); },
                      [this](std::uint64_t token) { complete_.erase(token); }};
    return options;
  }
  void StartAndSettle(const Options& options) {
    Start(options);
    AwaitReached();
  }
  // Scans of a start with these options, of all that is known of the start before.
  std::uint64_t ScansOf(const Options& options) {
    Stop();
    StartAndSettle(options);
    AwaitProgress([](const Progress& now) { return now.state == State::kLive; });
    return replicator_->progress().scans;
  }
  std::set<std::uint64_t> complete_;
};

TEST_P(KeptWatchTest, AStartAfterACompleteOneDoesNotScan) {
  MakeDirectory("source/dir");
  WriteFile("source/dir/file", "content");
  StartAndSettle(MakeOptions());
  EXPECT_EQ(complete_.size(), 1U);
  EXPECT_EQ(replicator_->progress().scans, 1U);
  Stop();
  Start(MakeOptions());
  AwaitProgress([](const Progress& now) { return now.state == State::kLive; });
  MakeDir("new");
  Write("new/file", "new");
  Move("dir", "new/dir");
  ExpectMirrored();
  EXPECT_EQ(replicator_->progress().scans, 0U);
}

TEST_P(KeptWatchTest, AScanThatWasNotThroughGoesOn) {
  WriteFile("source/file", "content");
  life_ = [] { return absl::StatusOr<testing::LinkLife>(model::Failure(model::Reaction::kReconnect, "away")); };
  Start(MakeOptions());
  Stop();
  WriteFile("source/later", "told to nobody");
  life_ = [] { return testing::LinkLife{}; };
  Start(MakeOptions());
  ExpectMirrored();
}

// Its first files are there already when the connection, or the process besides, comes to its end: the others are not forgotten.
TEST_P(KeptWatchTest, ATreeThatMovedInIsWalkedToItsEnd) {
  constexpr int kFiles = 6000;                         // of several rounds
  constexpr std::uint64_t kBytesUntilDeath = 300'000;  // in the first of them
  for (const bool restart : {false, true}) {
    const std::string tree = restart ? "second" : "first";
    MakeDirectory(tree);
    for (int i = 0; i < kFiles; ++i) WriteFile(absl::StrCat(tree, "/", i), "x");
    connects_ = 0;
    life_ = [this] {
      if (connects_ > 1) return absl::StatusOr<testing::LinkLife>(model::Failure(model::Reaction::kReconnect, "away"));
      return absl::StatusOr<testing::LinkLife>(testing::LinkLife{.written = kBytesUntilDeath});
    };
    Stop();
    StartAndSettle(MakeOptions());
    Rename(tree, "source/" + tree);
    Tell({Name(tree)});
    ASSERT_TRUE(Await([&] { return connects_ > 1; })) << Situation();
    if (restart) Stop();
    life_ = [] { return testing::LinkLife{}; };
    if (restart) Start(MakeOptions());
    replicator_->RetryNow();
    ExpectMirrored();
    EXPECT_EQ(replicator_->progress().scans, restart ? 0U : 1U);
  }
}

TEST_P(KeptWatchTest, WhatIsNotCertainIsScanned) {
  WriteFile("source/file", "content");
  StartAndSettle(MakeOptions());
  EXPECT_EQ(ScansOf(MakeOptions()), 0U);
  Options other = MakeOptions();
  other.filter = *select::Filter::Compile({{.include = false, .pattern = "*.tmp"}});
  EXPECT_EQ(ScansOf(other), 1U) << "other rules";
  EXPECT_EQ(ScansOf(other), 0U);
  EXPECT_EQ(ScansOf(MakeOptions()), 1U) << "other rules";
  other = MakeOptions();
  other.ignored = {"state"};
  EXPECT_EQ(ScansOf(other), 1U) << "other ignored paths";
  other.delete_at_startup = false;
  EXPECT_EQ(ScansOf(other), 1U) << "another policy";
  EXPECT_EQ(ScansOf(other), 0U);
  complete_.clear();
  EXPECT_EQ(ScansOf(other), 1U) << "the watch does not know";
  Stop();
  std::filesystem::remove_all(state_->path() + "/state/pending");
  EXPECT_EQ(ScansOf(other), 1U) << "another pending set";
  Options nobody = other;
  nobody.memory = {};
  EXPECT_EQ(ScansOf(nobody), 1U) << "nobody remembers";
  other.delete_at_startup = true;
  other.delete_while_running = false;
  EXPECT_EQ(ScansOf(other), 1U) << "another policy";
  EXPECT_EQ(ScansOf(other), 1U) << "a policy that needs the scan of each start";
}

INSTANTIATE_TEST_SUITE_P(Filesystems, KeptWatchTest, ::testing::Values("ext4"), [](const auto& test) { return test.param; });

// The threads of a scan look far ahead of what is planned: names that moved since are not to be put back.
TEST_P(ReplicatorTest, AScanIsNotBelievedOverALaterLook) {
  constexpr int kFiles = 300;
  constexpr int kLarge = 15;  // in each directory, which nobody tells of: the scan waits until they are sent
  constexpr std::uintmax_t kLargeBytes = std::uintmax_t{64} << 20;  // each fills a round
  for (const char* dir : {"dir", "y", "z"}) MakeDir(dir);
  for (int i = 0; i < kFiles; ++i) Write(absl::StrCat("dir/", i), "text");
  Options options = MakeOptions();
  options.scan_threads = 2;
  options.settle = absl::ZeroDuration();
  Start(options);
  ExpectMirrored();
  for (const char* dir : {"y", "z"}) {
    for (int i = 0; i < kLarge; ++i) {
      const std::string path = absl::StrCat("source/", dir, "/", i);
      WriteFile(path, "");
      std::filesystem::resize_file(At(path), kLargeBytes);
    }
  }
  replicator_->Rescan();
  EXPECT_TRUE(Await([&] { return replicator_->progress().scanned > 0; }));
  for (int i = 0; i < kFiles; ++i) Move(absl::StrCat("dir/", i), absl::StrCat("dir/moved", i));
  AwaitReached();
  EXPECT_THAT(testing::Differences(At("source/dir"), At("target/dir")), ::testing::IsEmpty()) << Situation();
}

}  // namespace
}  // namespace fanmirror::replicate
