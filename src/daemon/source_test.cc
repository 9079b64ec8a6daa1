#include "daemon/source.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "os/testing/filesystem.h"
#include "replicate/identity.h"

namespace fanmirror::daemon {
namespace {

using ::testing::HasSubstr;

// A source that is a directory of a filesystem of its own.
class SourceTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (!os::testing::IsRoot()) GTEST_SKIP() << "mounting needs root";
    auto filesystem = os::testing::ScopedFilesystem::Create(GetParam());
    ASSERT_TRUE(filesystem.ok()) << filesystem.status();
    filesystem_ = *std::move(filesystem);
    config_.source = filesystem_->path() + "/source";
    ASSERT_EQ(::mkdir(config_.source.c_str(), 0755), 0);
    Open();
    ASSERT_EQ(source_->WhyLost(), std::nullopt);
  }
  void Open() {
    source_.reset();
    auto source = Source::Open(config_, "/");
    ASSERT_TRUE(source.ok()) << source.status();
    source_ = *std::move(source);
    const absl::Status watched = source_->Watch(&watchers_, [](Severity, std::string_view) {});
    ASSERT_TRUE(watched.ok()) << watched;
  }
  std::string Why() { return source_->WhyLost().value_or("(nothing)"); }

  std::unique_ptr<os::testing::ScopedFilesystem> filesystem_;
  config::Job config_;
  ServiceManager service_;
  KeptWatches kept_{&service_, watch::QueueBound::kUnlimited, [](Severity, std::string_view) {}};
  Watchers watchers_{&kept_};
  std::unique_ptr<Source> source_;
};

TEST_P(SourceTest, IsLostWhenTheFilesystemIsUnmounted) {
  ASSERT_TRUE(filesystem_->Unmount().ok());
  // The directory below the mount point may hold nothing, or something of the same name.
  EXPECT_THAT(Why(), HasSubstr("was unmounted; mount it again"));
  ASSERT_EQ(::mkdir(config_.source.c_str(), 0755), 0);
  EXPECT_THAT(Why(), HasSubstr("was unmounted; mount it again"));
  ASSERT_EQ(::rmdir(config_.source.c_str()), 0);
}

TEST_P(SourceTest, IsLostWhenAnotherFilesystemIsMountedOverIt) {
  ASSERT_EQ(::mount("tmpfs", config_.source.c_str(), "tmpfs", 0, nullptr), 0);
  EXPECT_THAT(Why(), HasSubstr("another filesystem is mounted over source"));
  ASSERT_EQ(::umount(config_.source.c_str()), 0);
  EXPECT_EQ(source_->WhyLost(), std::nullopt);
}

TEST_P(SourceTest, IsLostWhenTheDirectoryIsReplaced) {
  ASSERT_EQ(::rename(config_.source.c_str(), (filesystem_->path() + "/old").c_str()), 0);
  ASSERT_EQ(::mkdir(config_.source.c_str(), 0755), 0);
  EXPECT_THAT(Why(), HasSubstr("is another directory than it was"));
}

TEST_P(SourceTest, IsLostWhenTheDirectoryIsRemoved) {
  ASSERT_EQ(::rmdir(config_.source.c_str()), 0);
  EXPECT_THAT(Why(), HasSubstr("cannot be opened any more: No such file or directory"));
}

TEST_P(SourceTest, IsNotLostByChangesInIt) {
  ASSERT_EQ(::chmod(config_.source.c_str(), 0700), 0);
  ASSERT_EQ(::mkdir((config_.source + "/new").c_str(), 0700), 0);
  EXPECT_EQ(source_->WhyLost(), std::nullopt);
}

// Nothing of ours holds the filesystem after it: the device could be taken away.
TEST_P(SourceTest, ReleasesTheFilesystem) {
  ASSERT_TRUE(filesystem_->Unmount().ok());
  source_.reset();
  EXPECT_TRUE(filesystem_->WaitUntilReleased().ok());
}

TEST_P(SourceTest, IsTheSameAfterARemountIfTheFilesystemIsKept) {
  const replicate::SourceIdentity before{source_->tree().root(), source_->mount().filesystem};
  ASSERT_TRUE(filesystem_->Unmount().ok());
  source_.reset();
  ASSERT_TRUE(filesystem_->WaitUntilReleased().ok());
  ASSERT_TRUE(filesystem_->Mount().ok());
  if (GetParam() == "tmpfs") {  // a new one each time
    ASSERT_EQ(::mkdir(config_.source.c_str(), 0755), 0);
  }
  Open();
  const replicate::SourceIdentity after{source_->tree().root(), source_->mount().filesystem};
  EXPECT_EQ(before == after, GetParam() != "tmpfs");
}

TEST_P(SourceTest, IsEmptyUntilSomethingIsInIt) {
  EXPECT_TRUE(source_->IsEmpty().value());
  ASSERT_EQ(::mkdir((config_.source + "/new").c_str(), 0700), 0);
  EXPECT_FALSE(source_->IsEmpty().value());
}

TEST_P(SourceTest, IsSeenAlikeUntilItIsAnother) {
  const SourceSight sight = LookAtSource(config_.source);
  ASSERT_EQ(::mkdir((config_.source + "/new").c_str(), 0700), 0);
  EXPECT_EQ(LookAtSource(config_.source), sight);
  ASSERT_EQ(::mount("tmpfs", config_.source.c_str(), "tmpfs", 0, nullptr), 0);
  EXPECT_NE(LookAtSource(config_.source), sight);
  ASSERT_EQ(::umount(config_.source.c_str()), 0);
  EXPECT_EQ(LookAtSource(config_.source), sight);
  EXPECT_EQ(LookAtSource("/nowhere").error, ENOENT);
}

// Two jobs share a watcher; with the last it is closed, and what it counted stays counted.
TEST_P(SourceTest, SharesItsWatcher) {
  watchers_.BeginReading();
  auto second = Source::Open(config_, "/");
  ASSERT_TRUE(second.ok()) << second.status();
  ASSERT_TRUE((*second)->Watch(&watchers_, [](Severity, std::string_view) {}).ok());
  EXPECT_EQ((*second)->watcher(), source_->watcher());
  ASSERT_EQ(::mkdir((config_.source + "/new").c_str(), 0700), 0);
  ASSERT_TRUE(source_->watcher()->Drain(absl::Seconds(30)).ok());
  const std::uint64_t events = watchers_.counters().events;
  EXPECT_GT(events, 0u);
  const std::weak_ptr<watch::Watcher> watcher = source_->watcher();
  source_.reset();
  EXPECT_FALSE(watcher.expired());
  second->reset();
  EXPECT_TRUE(watcher.expired());
  EXPECT_EQ(watchers_.counters().events, events);
}

INSTANTIATE_TEST_SUITE_P(Filesystems, SourceTest, ::testing::Values("ext4", "btrfs", "tmpfs"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace fanmirror::daemon
