#include "daemon/job.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "os/testing/filesystem.h"

namespace fanmirror::daemon {
namespace {

using ::testing::HasSubstr;

// A job whose source is a directory of a filesystem of its own.
class WhySourceLostTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (!os::testing::IsRoot()) GTEST_SKIP() << "mounting needs root";
    auto filesystem = os::testing::ScopedFilesystem::Create(GetParam());
    ASSERT_TRUE(filesystem.ok()) << filesystem.status();
    filesystem_ = *std::move(filesystem);
    job_.config.source = filesystem_->path() + "/source";
    ASSERT_EQ(::mkdir(job_.config.source.c_str(), 0755), 0);
    auto mount = watch::ResolveMount(job_.config.source);
    ASSERT_TRUE(mount.ok()) << mount.status();
    job_.mount = *mount;
    auto tree = os::Tree::Open(job_.config.source);
    ASSERT_TRUE(tree.ok()) << tree.status();
    job_.tree = *std::move(tree);
    auto watcher = watch::Watcher::Open(job_.mount);
    ASSERT_TRUE(watcher.ok()) << watcher.status();
    watcher_ = *std::move(watcher);
    job_.watcher = watcher_.get();
    ASSERT_EQ(WhySourceLost(job_), std::nullopt);
  }
  std::string Why() { return WhySourceLost(job_).value_or("(nothing)"); }

  std::unique_ptr<os::testing::ScopedFilesystem> filesystem_;
  Job job_;
  std::unique_ptr<watch::Watcher> watcher_;
};

TEST_P(WhySourceLostTest, IsSaidWhenTheFilesystemIsUnmounted) {
  ASSERT_TRUE(filesystem_->Unmount().ok());
  // The directory below the mount point may hold nothing, or something of the same name.
  EXPECT_THAT(Why(),
              HasSubstr("was unmounted, or another one was mounted over it; mount it again and restart"));
  ASSERT_EQ(::mkdir(job_.config.source.c_str(), 0755), 0);
  EXPECT_THAT(Why(),
              HasSubstr("was unmounted, or another one was mounted over it; mount it again and restart"));
  ASSERT_EQ(::rmdir(job_.config.source.c_str()), 0);
}

TEST_P(WhySourceLostTest, IsSaidWhenAnotherFilesystemIsMountedOverIt) {
  ASSERT_EQ(::mount("tmpfs", job_.config.source.c_str(), "tmpfs", 0, nullptr), 0);
  EXPECT_THAT(Why(), HasSubstr("another one was mounted over it"));
  ASSERT_EQ(::umount(job_.config.source.c_str()), 0);
  EXPECT_EQ(WhySourceLost(job_), std::nullopt);
}

TEST_P(WhySourceLostTest, IsSaidWhenTheDirectoryIsReplaced) {
  ASSERT_EQ(::rename(job_.config.source.c_str(), (filesystem_->path() + "/old").c_str()), 0);
  ASSERT_EQ(::mkdir(job_.config.source.c_str(), 0755), 0);
  EXPECT_THAT(Why(), HasSubstr("is another directory than at the start"));
}

TEST_P(WhySourceLostTest, IsSaidWhenTheDirectoryIsRemoved) {
  ASSERT_EQ(::rmdir(job_.config.source.c_str()), 0);
  EXPECT_THAT(Why(), HasSubstr("cannot be opened any more: No such file or directory"));
}

TEST_P(WhySourceLostTest, IsNotSaidForChangesInTheSource) {
  ASSERT_EQ(::chmod(job_.config.source.c_str(), 0700), 0);
  ASSERT_EQ(::mkdir((job_.config.source + "/new").c_str(), 0700), 0);
  EXPECT_EQ(WhySourceLost(job_), std::nullopt);
}

INSTANTIATE_TEST_SUITE_P(Filesystems, WhySourceLostTest, ::testing::Values("ext4", "btrfs", "tmpfs"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace fanmirror::daemon
