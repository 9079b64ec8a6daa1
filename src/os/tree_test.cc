#include "os/tree.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "model/failure.h"
#include "os/testing/filesystem.h"
#include "os/testing/tree_fixture.h"

namespace fanmirror::os {
namespace {

using model::FileId;
using model::Node;
using model::NodeType;
using testing::AllFilesystems;
using testing::RunCommand;
using testing::TreeTest;

INSTANTIATE_TEST_SUITE_P(OnEach, TreeTest, ::testing::ValuesIn(AllFilesystems()),
                         [](const auto& instance) { return instance.param; });

void ExpectLikeStat(const Node& node, const std::string& path) {
  struct stat expected;
  ASSERT_EQ(::lstat(path.c_str(), &expected), 0) << path;
  const model::Metadata& metadata = node.metadata;
  EXPECT_EQ(metadata.mode, expected.st_mode & 07777u) << path;
  EXPECT_EQ(metadata.uid, expected.st_uid);
  EXPECT_EQ(metadata.gid, expected.st_gid);
  EXPECT_EQ(metadata.links, expected.st_nlink);
  EXPECT_EQ(metadata.mtime, (model::Timestamp{expected.st_mtim.tv_sec,
                                              static_cast<std::uint32_t>(expected.st_mtim.tv_nsec)}));
  EXPECT_EQ(metadata.ctime, (model::Timestamp{expected.st_ctim.tv_sec,
                                              static_cast<std::uint32_t>(expected.st_ctim.tv_nsec)}));
  const bool sized = S_ISREG(expected.st_mode) || S_ISLNK(expected.st_mode);
  EXPECT_EQ(metadata.size, sized ? static_cast<std::uint64_t>(expected.st_size) : 0u) << path;
  EXPECT_EQ(metadata.device_major, major(expected.st_rdev));
  EXPECT_EQ(metadata.device_minor, minor(expected.st_rdev));
}

TEST_P(TreeTest, SeesEveryTypeOfNode) {
  WriteFile("source/regular", "four");
  ASSERT_EQ(::chmod(At("source/regular").c_str(), 06751), 0);
  MakeDirectory("source/directory");
  ASSERT_EQ(::chown(At("source/directory").c_str(), 123456, 654321), 0);
  ASSERT_EQ(::symlink("/nowhere/at all", At("source/symlink").c_str()), 0);
  ASSERT_EQ(::mkfifo(At("source/fifo").c_str(), 0600), 0);
  ASSERT_EQ(::mknod(At("source/socket").c_str(), S_IFSOCK | 0640, 0), 0);
  ASSERT_EQ(::mknod(At("source/char").c_str(), S_IFCHR | 0640, makedev(300, 70000)), 0);
  ASSERT_EQ(::mknod(At("source/block").c_str(), S_IFBLK | 0640, makedev(7, 3)), 0);
  const std::pair<const char*, NodeType> expected[] = {
      {"regular", NodeType::kRegular},   {"directory", NodeType::kDirectory}, {"symlink", NodeType::kSymlink},
      {"fifo", NodeType::kFifo},         {"socket", NodeType::kSocket},       {"char", NodeType::kCharDevice},
      {"block", NodeType::kBlockDevice},
  };
  for (const auto& [name, type] : expected) {
    const std::optional<Node> node = Look(name);
    ASSERT_TRUE(node) << name;
    EXPECT_EQ(node->metadata.type, type) << name;
    EXPECT_EQ(node->id, IdOf(std::string("source/") + name));
    ExpectLikeStat(*node, At(std::string("source/") + name));
    EXPECT_EQ(LookNode(node->id), node) << name;
    EXPECT_TRUE(Opens(node->id, O_PATH)) << name;
  }
}

TEST_P(TreeTest, TimesBefore1970AndNanoseconds) {
  WriteFile("source/old", "");
  const timespec times[2] = {{0, UTIME_NOW}, {-5, 123456789}};
  ASSERT_EQ(::utimensat(AT_FDCWD, At("source/old").c_str(), times, 0), 0);
  const std::optional<Node> node = Look("old");
  ASSERT_TRUE(node);
  EXPECT_EQ(node->metadata.mtime, (model::Timestamp{-5, 123456789}));
}

TEST_P(TreeTest, NothingIsThereWhereNothingIs) {
  EXPECT_FALSE(Look("none"));
  MakeDirectory("source/dir");
  const FileId dir = IdOf("source/dir");
  EXPECT_FALSE(Look(dir, "none"));
  ASSERT_EQ(::rmdir(At("source/dir").c_str()), 0);
  EXPECT_FALSE(Look(dir, "none"));
  EXPECT_TRUE(IsGone(dir));
}

TEST_P(TreeTest, WhatIsNoDirectoryHasNoEntries) {
  WriteFile("source/file", "data");
  EXPECT_FALSE(Look(IdOf("source/file"), "entry"));
}

TEST_P(TreeTest, RefusesWhatIsNoName) {
  for (const std::string& name : {std::string(), std::string("."), std::string(".."), std::string("a/b"),
                                  std::string("/"), std::string("a\0b", 3)}) {
    EXPECT_FALSE(tree_->Look({tree_->root(), name}).ok()) << model::QuotePath(name);
  }
}

TEST_P(TreeTest, FollowsMovedNodes) {
  MakeDirectory("source/dir");
  WriteFile("source/dir/file", "content");
  const FileId dir = IdOf("source/dir");
  const FileId file = IdOf("source/dir/file");
  MakeDirectory("source/other");
  Rename("source/dir", "source/other/moved");
  const std::optional<Node> found = Look(dir, "file");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->id, file);
  Rename("source/other/moved/file", "outside/file");
  EXPECT_FALSE(Look(dir, "file"));
  absl::StatusOr<std::optional<UniqueFd>> fd = tree_->OpenNode(file, O_RDONLY);
  ASSERT_TRUE(fd.ok() && fd->has_value()) << fd.status();
  char buffer[16] = {};
  EXPECT_EQ(::read((*fd)->get(), buffer, sizeof buffer), 7);
  EXPECT_STREQ(buffer, "content");
}

TEST_P(TreeTest, AReplacedNodeIsGone) {
  WriteFile("source/file", "old");
  const FileId old = IdOf("source/file");
  WriteFile("source/new", "new!");
  const FileId replacement = IdOf("source/new");
  Rename("source/new", "source/file");
  const std::optional<Node> node = Look("file");
  ASSERT_TRUE(node);
  EXPECT_EQ(node->id, replacement);
  EXPECT_TRUE(IsGone(old));
  // The same inode number again, as ext4 gives it, is another node.
  for (int round = 0; round < 10; ++round) {
    WriteFile("source/again", "");
    const FileId id = IdOf("source/again");
    ASSERT_EQ(::unlink(At("source/again").c_str()), 0);
    WriteFile("source/again", "");
    EXPECT_NE(IdOf("source/again"), id);
    EXPECT_TRUE(IsGone(id));
  }
}

TEST_P(TreeTest, WhatIsOnlyStillOpenIsGone) {
  WriteFile("source/file", "x");
  MakeDirectory("source/dir");
  const FileId file = IdOf("source/file");
  const FileId dir = IdOf("source/dir");
  const UniqueFd held_file(::open(At("source/file").c_str(), O_RDONLY | O_CLOEXEC));
  const UniqueFd held_dir(::open(At("source/dir").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ASSERT_TRUE(held_file && held_dir);
  EXPECT_FALSE(IsGone(file));
  EXPECT_FALSE(IsGone(dir));
  ASSERT_EQ(::unlink(At("source/file").c_str()), 0);
  ASSERT_EQ(::rmdir(At("source/dir").c_str()), 0);
  EXPECT_TRUE(IsGone(file));
  EXPECT_TRUE(IsGone(dir));
  EXPECT_FALSE(Look(dir, "any"));
}

TEST_P(TreeTest, AFileWithAnotherLinkIsNotGone) {
  WriteFile("source/file", "x");
  const FileId id = IdOf("source/file");
  ASSERT_EQ(::link(At("source/file").c_str(), At("outside/link").c_str()), 0);
  ASSERT_EQ(::unlink(At("source/file").c_str()), 0);
  EXPECT_FALSE(IsGone(id));
  EXPECT_FALSE(Look("file"));
}

TEST_P(TreeTest, UnnamedTemporaryFilesAreGoneUntilLinked) {
  const UniqueFd fd(::open(At("source").c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  ASSERT_TRUE(fd);
  FileId id;
  ASSERT_EQ(IdAt(fd.get(), "", &id), 0);
  EXPECT_TRUE(IsGone(id));
  const std::string link = "/proc/self/fd/" + std::to_string(fd.get());
  ASSERT_EQ(::linkat(AT_FDCWD, link.c_str(), AT_FDCWD, At("source/named").c_str(), AT_SYMLINK_FOLLOW), 0);
  EXPECT_FALSE(IsGone(id));
}

// The look's two system calls must be of one node, however often the entry changes.
TEST_P(TreeTest, ALookIsOfOneNode) {
  WriteFile("source/a", "1");
  ASSERT_EQ(::symlink("22", At("source/b").c_str()), 0);
  const FileId file = IdOf("source/a");
  std::atomic<bool> stop = false;
  std::thread exchanging([&] {
    while (!stop)
      ::renameat2(AT_FDCWD, At("source/a").c_str(), AT_FDCWD, At("source/b").c_str(), RENAME_EXCHANGE);
  });
  int looks_of_file = 0;
  int mismatches = 0;
  constexpr int kLooks = 30000;
  for (int i = 0; i < kLooks; ++i) {
    absl::StatusOr<std::optional<Node>> node = tree_->LookAt(tree_->root_fd(), "a");
    // An exchange never leaves the name without a node.
    ASSERT_TRUE(node.ok() && node->has_value()) << node.status();
    const bool is_file = (*node)->id == file;
    looks_of_file += is_file;
    mismatches +=
        is_file != ((*node)->metadata.size == 1) || is_file != ((*node)->metadata.type == NodeType::kRegular);
  }
  stop = true;
  exchanging.join();
  EXPECT_EQ(mismatches, 0);
  EXPECT_GT(looks_of_file, 0);
  EXPECT_LT(looks_of_file, kLooks);
}

TEST_P(TreeTest, NamesMayBeAnyBytes) {
  const std::string names[] = {
      "new\nline", "\xff\xfe invalid", std::string(255, 'n'), "...", " ", "x (deleted)",
      "\x01",      "quote'\"\\"};
  for (const std::string& name : names) {
    MakeDirectory("source/" + name);
    WriteFile("source/" + name + "/" + name, name);
    const std::optional<Node> dir = Look(name);
    ASSERT_TRUE(dir) << model::QuotePath(name);
    const std::optional<Node> file = Look(dir->id, name);
    ASSERT_TRUE(file);
    EXPECT_EQ(file->metadata.size, name.size());
  }
  EXPECT_FALSE(tree_->Look({tree_->root(), std::string(256, 'n')}).ok());
}

TEST_P(TreeTest, FilesystemsMountedBelowAreNotSeen) {
  MakeDirectory("source/sub");
  WriteFile("source/sub/under", "under the mount");
  const FileId under = IdOf("source/sub");
  ASSERT_TRUE(RunCommand({"mount", "-t", "tmpfs", "fanmirror-test", At("source/sub")}).ok());
  WriteFile("source/sub/over", "");
  for (int round = 0; round < 2; ++round) {
    const std::optional<Node> sub = Look("sub");
    ASSERT_TRUE(sub);
    EXPECT_EQ(sub->id, under);
    EXPECT_TRUE(Look(sub->id, "under"));
    EXPECT_FALSE(Look(sub->id, "over"));
    OpenTree(At("source"));  // and not when the mount was there first, either
  }
}

TEST_P(TreeTest, StandsOnABindMountAndOnASymlink) {
  WriteFile("source/file", "x");
  MakeDirectory("outside/bind");
  ASSERT_EQ(::symlink("outside/bind", At("symlink").c_str()), 0);
  ASSERT_TRUE(RunCommand({"mount", "--bind", At("source"), At("outside/bind")}).ok());
  const FileId file = IdOf("source/file");
  for (const char* path : {"outside/bind", "symlink"}) {
    OpenTree(At(path));
    EXPECT_EQ(tree_->root(), IdOf("source"));
    const std::optional<Node> node = Look("file");
    ASSERT_TRUE(node) << path;
    EXPECT_EQ(node->id, file);
  }
}

TEST_P(TreeTest, TheUserCanUnmount) {
  WriteFile("source/file", "x");
  const FileId file = IdOf("source/file");
  const absl::Status unmounted = filesystem_->Unmount();
  EXPECT_TRUE(unmounted.ok()) << unmounted;
  struct stat found;
  EXPECT_NE(::stat(At("source").c_str(), &found), 0);
  EXPECT_TRUE(Look("file"));
  EXPECT_TRUE(Opens(file, O_RDONLY));
  EXPECT_FALSE(IsGone(file));
}

TEST_P(TreeTest, OpenSaysWhy) {
  WriteFile("source/file", "x");
  const absl::Status missing = Tree::Open(At("source/missing")).status();
  EXPECT_EQ(model::ReactionOf(missing), model::Reaction::kRetry);
  EXPECT_THAT(std::string(missing.message()), ::testing::HasSubstr("source/missing"));
  EXPECT_EQ(model::ErrnoOf(Tree::Open(At("source/file")).status()), ENOTDIR);
}

TEST(TreeWithoutHandles, IsRefused) {
  if (!testing::IsRoot()) GTEST_SKIP() << "open_tree needs root";
  const absl::Status status = Tree::Open("/proc/self").status();
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(model::ReactionOf(status), model::Reaction::kHaltJob) << status;
}

}  // namespace
}  // namespace fanmirror::os
