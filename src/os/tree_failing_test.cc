// Filesystems that fail: nothing on them may look gone.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "model/failure.h"
#include "os/testing/filesystem.h"
#include "os/testing/tree_fixture.h"

namespace fanmirror::os {
namespace {

using model::FileId;
using testing::TreeTest;

class FailingTest : public TreeTest {
 protected:
  // The kernel forgets every inode, so that it reads them again.
  void ForgetInodes() {
    tree_.reset();
    ASSERT_TRUE(filesystem_->Unmount().ok());
    ASSERT_TRUE(filesystem_->WaitUntilReleased().ok());
    ASSERT_TRUE(filesystem_->Mount().ok());
    OpenTree(At("source"));
  }
  void ExpectErrors(const FileId& id) {
    EXPECT_FALSE(tree_->OpenNode(id, O_PATH).ok());
    EXPECT_FALSE(tree_->LookNode(id).ok());
    EXPECT_FALSE(tree_->Look({id, "file"}).ok());
    EXPECT_FALSE(tree_->Locate(id).ok());
    EXPECT_EQ(model::ReactionOf(tree_->LookNode(id).status()), model::Reaction::kRetry);
  }
};

class ShutdownTest : public FailingTest {};
INSTANTIATE_TEST_SUITE_P(On, ShutdownTest, ::testing::Values("ext4", "xfs"),
                         [](const auto& instance) { return instance.param; });

TEST_P(ShutdownTest, NothingIsGone) {
  std::vector<FileId> directories;
  for (int i = 0; i < 100; ++i) {
    const std::string path = absl::StrCat("source/dir", i);
    MakeDirectory(path);
    WriteFile(path + "/file", "");
    directories.push_back(IdOf(path));
  }
  MakeDirectory("source/removed");
  const FileId removed = IdOf("source/removed");
  ASSERT_EQ(::rmdir(At("source/removed").c_str()), 0);
  ForgetInodes();
  EXPECT_TRUE(IsGone(removed));
  ASSERT_TRUE(filesystem_->ShutDown().ok());
  for (const FileId& id : directories) {
    const absl::StatusOr<std::optional<UniqueFd>> opened = tree_->OpenNode(id, O_PATH);
    EXPECT_TRUE(!opened.ok() || opened->has_value());
    const absl::StatusOr<std::optional<model::Node>> file = tree_->Look({id, "file"});
    EXPECT_TRUE(!file.ok() || file->has_value());
  }
  EXPECT_FALSE(tree_->LookNode(removed).ok());
  EXPECT_FALSE(tree_->Look({tree_->root(), "none"}).ok());
}

// Flips bits of an inode in the image wherever it is kept.
class CorruptionTest : public FailingTest {
 protected:
  static constexpr std::uint32_t kMark = 0x5A17C3E9;

  void Mark(const std::string& path) {
    ASSERT_EQ(::chown(At(path).c_str(), kMark, 0), 0);
    const timespec times[2] = {{0, UTIME_OMIT}, {kMark, 0}};
    ASSERT_EQ(::utimensat(AT_FDCWD, At(path).c_str(), times, 0), 0);
  }

  // While it is unmounted.
  void CorruptMarked() {
    // xfs has the owner with the highest byte first; ext4 and btrfs the modification time with the lowest
    // first.
    const std::string inode = GetParam() == "xfs" ? "\x5A\x17\xC3\xE9" : "\xE9\xC3\x17\x5A";
    const absl::Status corrupted = filesystem_->Corrupt(inode);
    ASSERT_TRUE(corrupted.ok()) << corrupted;
  }
};
INSTANTIATE_TEST_SUITE_P(On, CorruptionTest, ::testing::Values("ext4", "xfs", "btrfs"),
                         [](const auto& instance) { return instance.param; });

TEST_P(CorruptionTest, ADirectoryThatCannotBeReadIsNotGone) {
  // So many that the inode is far from the root's: btrfs loses all that is in the same block.
  for (int i = 0; i < 4000; ++i) WriteFile(absl::StrCat("source/before", i), "");
  MakeDirectory("source/victim");
  WriteFile("source/victim/file", "");
  const FileId victim = IdOf("source/victim");
  for (int i = 0; i < 4000; ++i) WriteFile(absl::StrCat("outside/after", i), "");
  WriteFile("source/before0.removed", "");
  const FileId removed = IdOf("source/before0.removed");
  ASSERT_EQ(::unlink(At("source/before0.removed").c_str()), 0);
  Mark("source/victim");
  tree_.reset();
  ASSERT_TRUE(filesystem_->Unmount().ok());
  ASSERT_TRUE(filesystem_->WaitUntilReleased().ok());
  CorruptMarked();
  ASSERT_TRUE(filesystem_->Mount().ok());
  OpenTree(At("source"));
  EXPECT_TRUE(IsGone(removed));
  for (int round = 0; round < 3; ++round) ExpectErrors(victim);
  EXPECT_FALSE(tree_->Look({tree_->root(), "victim"}).ok());
  EXPECT_TRUE(IsGone(removed));
  EXPECT_TRUE(Look("before1"));
}

}  // namespace
}  // namespace fanmirror::os
