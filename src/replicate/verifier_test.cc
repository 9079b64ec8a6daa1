#include <fcntl.h>

#include <map>

#include "replicate/testing/mirror_fixture.h"

namespace fanmirror::replicate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;

class VerifierTest : public testing::MirrorTest {
 protected:
  VerifyOptions MakeVerifyOptions(bool content = false, bool repair = false) {
    VerifyOptions options;
    options.content = content;
    options.repair = repair;
    options.abandoned = [] { return false; };
    options.drain = [] { return absl::OkStatus(); };
    options.differs = [this](const Difference& difference) {
      found_[difference.path] = difference.what + (difference.repaired ? "; repaired" : "");
      return true;
    };
    options.progress = [](const VerifyCounts&) { return true; };
    return options;
  }
  std::map<std::string, std::string> Verify(bool content = false, bool repair = false) {
    found_.clear();
    const auto counts = replicator_->Verify(MakeVerifyOptions(content, repair));
    EXPECT_TRUE(counts.ok()) << counts.status() << Situation();
    if (counts.ok()) counts_ = *counts;
    return found_;
  }
  // On the target, behind everybody's back: size and times stay.
  void Corrupt(const std::string& path) {
    struct stat before {};
    ASSERT_EQ(::stat(At("target/" + path).c_str(), &before), 0);
    const os::UniqueFd fd(::open(At("target/" + path).c_str(), O_WRONLY | O_CLOEXEC));
    ASSERT_EQ(::pwrite(fd.get(), "?", 1, 0), 1);
    const timespec times[2] = {before.st_atim, before.st_mtim};
    ASSERT_EQ(::futimens(fd.get(), times), 0);
  }
  void Restore(const std::string& dir) {
    struct stat source {};
    ASSERT_EQ(::stat(At("source/" + dir).c_str(), &source), 0);
    const timespec times[2] = {source.st_atim, source.st_mtim};
    ASSERT_EQ(::utimensat(AT_FDCWD, At("target/" + dir).c_str(), times, 0), 0);
  }

  std::map<std::string, std::string> found_;
  VerifyCounts counts_;
};

INSTANTIATE_TEST_SUITE_P(On, VerifierTest, ::testing::Values("tmpfs", "ext4"),
                         [](const auto& instance) { return instance.param; });

TEST_P(VerifierTest, EqualTreesDoNotDiffer) {
  MakeDir("dir");
  Write("dir/file", "text");
  Link("dir/file", "again");
  Start();
  ExpectMirrored();
  EXPECT_THAT(Verify(), IsEmpty());
  EXPECT_EQ(counts_.compared, 4u);  // the root, too
  EXPECT_EQ(counts_.hashed, 0u);
  EXPECT_THAT(Verify(/*content=*/true), IsEmpty());
  EXPECT_EQ(counts_.hashed, 2u);
  EXPECT_EQ(counts_.hashed_bytes, 8u);
}

TEST_P(VerifierTest, WhatNoEventToldIsFoundOnTheSource) {
  Write("file", "text");
  Start();
  ExpectMirrored();
  WriteFile("source/file", "other text");  // nobody tells
  EXPECT_THAT(Verify(), ElementsAre(Pair("file", HasSubstr("size 10, on the target 4"))));
  EXPECT_THAT(Verify(false, /*repair=*/true), ElementsAre(Pair("file", HasSubstr("; repaired"))));
  EXPECT_THAT(Verify(/*content=*/true), IsEmpty());
}

TEST_P(VerifierTest, WhatIsPendingIsNoDifference) {
  Write("file", "text");
  Start();
  ExpectMirrored();
  VerifyOptions options = MakeVerifyOptions();
  options.drain = [this] {  // the events come late
    Tell({Name("new"), Node("file", /*content=*/true)});
    return absl::OkStatus();
  };
  WriteFile("source/new", "text");
  WriteFile("source/file", "other text");
  Restore("");
  const auto counts = replicator_->Verify(options);
  ASSERT_TRUE(counts.ok()) << counts.status();
  EXPECT_THAT(found_, IsEmpty());
  EXPECT_EQ(counts->pending, 0u);
}

TEST_P(VerifierTest, WhatChangesMeanwhileIsLookedAtUntilItRests) {
  Write("file", "text");
  Start();
  ExpectMirrored();
  VerifyOptions options = MakeVerifyOptions();
  int looks = 0;
  // Nobody tells of these changes: each look finds another file, and only the last one a difference.
  options.drain = [&] {
    if (++looks <= 5) WriteFile("source/file", std::string(static_cast<std::size_t>(10 + looks), 'x'));
    return absl::OkStatus();
  };
  WriteFile("source/file", "other text");
  auto counts = replicator_->Verify(options);
  ASSERT_TRUE(counts.ok()) << counts.status();
  EXPECT_THAT(found_, ElementsAre(Pair("file", HasSubstr("size 15, on the target 4"))));
  EXPECT_EQ(looks, 6);

  found_.clear();
  options.drain = [&] {
    WriteFile("source/file", std::string(static_cast<std::size_t>(++looks), 'x'));
    return absl::OkStatus();
  };
  counts = replicator_->Verify(options);
  ASSERT_TRUE(counts.ok()) << counts.status();
  EXPECT_THAT(found_, IsEmpty());
  EXPECT_EQ(counts->changing, 1u);
}

TEST_P(VerifierTest, CorruptContentIsRepairedWithAllItsNames) {
  MakeDir("dir");
  Write("dir/file", "text");
  Link("dir/file", "again");
  Write("well", "text");
  Start();
  ExpectMirrored();
  AwaitProgress([](const Progress& now) { return now.acked_files == 2; });
  Corrupt("dir/file");
  EXPECT_THAT(Verify(), IsEmpty());
  EXPECT_THAT(Verify(/*content=*/true), ElementsAre(Pair("again", "content"), Pair("dir/file", "content")));
  EXPECT_THAT(Verify(true, /*repair=*/true),
              ElementsAre(Pair("again", "content; repaired"), Pair("dir/file", "content; repaired")));
  EXPECT_EQ(counts_.repaired, 2u);
  ExpectMirrored();
  EXPECT_THAT(Verify(/*content=*/true), IsEmpty());
  EXPECT_EQ(replicator_->progress().acked_files, 3u);  // "well" was left alone
}

TEST_P(VerifierTest, MetadataIsRepairedWithoutContent) {
  Write("file", "text");
  Start();
  ExpectMirrored();
  AwaitProgress([](const Progress& now) { return now.acked_files == 1; });
  ASSERT_EQ(::chmod(At("target/file").c_str(), 0751), 0);
  EXPECT_THAT(Verify(false, /*repair=*/true), ElementsAre(Pair("file", HasSubstr("mode"))));
  ExpectMirrored();
  EXPECT_EQ(replicator_->progress().acked_files, 1u);
}

TEST_P(VerifierTest, AnyNumberOfDifferences) {
  constexpr int kFiles = 2'300;
  Start();
  for (int i = 0; i < kFiles; ++i) Write(absl::StrCat("f", i), "");
  ExpectMirrored();
  for (int i = 0; i < kFiles; ++i) ASSERT_EQ(::unlink(At(absl::StrCat("target/f", i)).c_str()), 0);
  Restore("");
  EXPECT_THAT(Verify(), SizeIs(kFiles));
  EXPECT_THAT(Verify(false, /*repair=*/true), SizeIs(kFiles));
  EXPECT_EQ(counts_.repaired, static_cast<std::uint64_t>(kFiles));
  ExpectMirrored();
}

TEST_P(VerifierTest, ItEndsWhenNobodyListens) {
  Write("file", "text");
  Start();
  ExpectMirrored();
  ASSERT_EQ(::unlink(At("target/file").c_str()), 0);
  VerifyOptions options = MakeVerifyOptions();
  options.differs = [](const Difference&) { return false; };
  EXPECT_FALSE(replicator_->Verify(options).ok());
  options = MakeVerifyOptions();
  options.abandoned = [] { return true; };
  EXPECT_FALSE(replicator_->Verify(options).ok());
}

TEST_P(VerifierTest, AReplicatorThatStopsEndsIt) {
  Write("file", "text");
  Start();
  ExpectMirrored();
  ASSERT_EQ(::unlink(At("target/file").c_str()), 0);
  Restore("");
  VerifyOptions options = MakeVerifyOptions();
  options.drain = [this] {
    replicator_->Stop();
    return absl::OkStatus();
  };
  EXPECT_FALSE(replicator_->Verify(options).ok());
  EXPECT_THAT(found_, IsEmpty());
}

// The target reads so slowly that nothing but its heartbeat is heard of it for several times the timeout.
TEST_P(VerifierTest, HashingForLongerThanTheTimeoutIsNoSilence) {
  constexpr std::size_t kBytes = std::size_t{1} << 20;
  Write("file", std::string(kBytes, 'x'));
  Options impatient = MakeOptions();
  impatient.timeout = absl::Milliseconds(400);
  Start(impatient);
  ExpectMirrored();
  VerifyOptions options = MakeVerifyOptions(/*content=*/true);
  options.bytes_per_second = kBytes / 2;
  const absl::Time began = absl::Now();
  const auto counts = replicator_->Verify(options);
  ASSERT_TRUE(counts.ok()) << counts.status() << Situation();
  EXPECT_GT(absl::Now() - began, 4 * impatient.timeout);
  EXPECT_EQ(counts->hashed, 1U);
  EXPECT_THAT(found_, IsEmpty());
  EXPECT_EQ(connects_, 1) << Situation();
}

TEST_P(VerifierTest, OneAtATime) {
  Start();
  ExpectMirrored();
  VerifyOptions options = MakeVerifyOptions();
  absl::StatusOr<VerifyCounts> second = VerifyCounts{};
  ASSERT_EQ(::chmod(At("target").c_str(), 0701), 0);
  options.drain = [&] {
    second = replicator_->Verify(MakeVerifyOptions());
    return absl::OkStatus();
  };
  EXPECT_TRUE(replicator_->Verify(options).ok());
  EXPECT_THAT(second.status().message(), HasSubstr("another verification"));
}

}  // namespace
}  // namespace fanmirror::replicate
