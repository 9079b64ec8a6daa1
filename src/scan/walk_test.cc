#include "scan/walk.h"

#include <dirent.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "os/testing/filesystem.h"

namespace fanmirror::scan {
namespace {

using ::fanmirror::os::Tree;
using ::fanmirror::os::testing::AllFilesystems;
using ::fanmirror::os::testing::RunCommand;
using ::fanmirror::os::testing::ScopedFilesystem;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

// How the names of files begin that are removed and made again while a walk is under way.
constexpr std::string_view kComesAndGoes = "comes";
constexpr int kThreads = 4;

// What a whole walk gave, and what was wrong with it.
struct Walked {
  std::map<std::string, model::Node> found;  // by path
  std::vector<std::string> twice;            // paths that were given more than once
  std::vector<std::string> early;            // paths given before their parent, or after it was listed
  std::set<std::string> listed;              // by path
  std::vector<std::pair<std::string, absl::Status>> unreadable;
  std::uint64_t seen = 0;
  std::size_t largest_step = 0;
};

class WalkTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (!os::testing::IsRoot()) GTEST_SKIP() << "mounting needs root";
    absl::StatusOr<std::unique_ptr<ScopedFilesystem>> made = ScopedFilesystem::Create(GetParam());
    ASSERT_TRUE(made.ok()) << made.status();
    filesystem_ = *std::move(made);
    MakeDirectory("");
    OpenTree();
  }

  void OpenTree() {
    absl::StatusOr<std::unique_ptr<Tree>> tree = Tree::Open(At(""));
    ASSERT_TRUE(tree.ok()) << tree.status();
    tree_ = *std::move(tree);
  }

  std::string At(const std::string& path) const {
    return filesystem_->path() + "/source" + (path.empty() ? "" : "/") + path;
  }
  void MakeDirectory(const std::string& path) { ASSERT_EQ(::mkdir(At(path).c_str(), 0755), 0) << path; }
  void WriteFile(const std::string& path, std::size_t size = 0) {
    const os::UniqueFd fd(::open(At(path).c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
    ASSERT_TRUE(fd) << path;
    ASSERT_EQ(::ftruncate(fd.get(), static_cast<off_t>(size)), 0);
  }
  void Exclude(const std::vector<std::string>& patterns) {
    std::vector<select::Rule> rules;
    for (const std::string& pattern : patterns) rules.push_back({.include = false, .pattern = pattern});
    absl::StatusOr<select::Filter> filter = select::Filter::Compile(rules);
    ASSERT_TRUE(filter.ok()) << filter.status();
    selection_.filter = *std::move(filter);
  }

  std::unique_ptr<Walk> Begin(int threads = 1) {
    return Walk::Begin(tree_.get(), &selection_, tree_->root(), "", threads);
  }

  // Walks alone and by threads, which must give the same.
  Walked WalkAll(std::size_t max = 100) {
    const std::unique_ptr<Walk> walk = Begin();
    Walked walked = Finish(walk.get(), tree_->root(), max);
    const std::unique_ptr<Walk> by_threads = Begin(kThreads);
    const Walked same = Finish(by_threads.get(), tree_->root(), max);
    EXPECT_TRUE(same.found == walked.found);
    EXPECT_EQ(same.listed, walked.listed);
    EXPECT_EQ(same.seen, walked.seen);
    EXPECT_EQ(same.unreadable.size(), walked.unreadable.size());
    EXPECT_LE(same.largest_step, max);
    return walked;
  }

  static Walked Finish(Walk* walk, const model::FileId& root, std::size_t max) {
    Walked walked;
    std::map<model::FileId, std::string> directories = {{root, ""}};
    for (bool done = false; !done;) {
      Walk::Step step = walk->Next(max);
      done = step.done;
      walked.seen += step.seen;
      walked.largest_step = std::max(walked.largest_step, step.found.size());
      for (Found& found : step.found) {
        const auto parent = directories.find(found.name.dir);
        if (parent == directories.end() || walked.listed.contains(parent->second))
          walked.early.push_back(found.path);
        if (found.node.metadata.type == model::NodeType::kDirectory) directories[found.node.id] = found.path;
        EXPECT_TRUE(found.path == found.name.name || found.path.ends_with("/" + found.name.name));
        const bool is_new = walked.found.emplace(found.path, found.node).second;
        // A name that was listed, removed and made again before it was looked at may be listed again.
        if (!is_new && !found.name.name.starts_with(kComesAndGoes)) walked.twice.push_back(found.path);
      }
      for (const model::FileId& id : step.listed) walked.listed.insert(directories.at(id));
      for (auto& unreadable : step.unreadable) walked.unreadable.push_back(std::move(unreadable));
    }
    EXPECT_THAT(walked.twice, IsEmpty());
    EXPECT_THAT(walked.early, IsEmpty());
    return walked;
  }

  // All paths below the source by readdir(3) and lstat(2) on paths, which share nothing with the walk.
  std::map<std::string, struct stat> ListIndependently() {
    std::map<std::string, struct stat> all;
    std::vector<std::string> waiting = {""};
    while (!waiting.empty()) {
      const std::string dir = waiting.back();
      waiting.pop_back();
      DIR* listing = ::opendir(At(dir).c_str());
      EXPECT_NE(listing, nullptr) << dir;
      if (listing == nullptr) continue;
      while (const dirent* entry = ::readdir(listing)) {
        const std::string name = entry->d_name;
        if (name == "." || name == "..") continue;
        const std::string path = dir.empty() ? name : dir + "/" + name;
        EXPECT_EQ(::lstat(At(path).c_str(), &all[path]), 0) << path;
        if (S_ISDIR(all[path].st_mode)) waiting.push_back(path);
      }
      ::closedir(listing);
    }
    return all;
  }

  std::unique_ptr<ScopedFilesystem> filesystem_;
  std::unique_ptr<Tree> tree_;
  Selection selection_;
};

INSTANTIATE_TEST_SUITE_P(OnEach, WalkTest, ::testing::ValuesIn(AllFilesystems()),
                         [](const auto& instance) { return instance.param; });

std::vector<std::string> Paths(const Walked& walked) {
  std::vector<std::string> paths;
  for (const auto& [path, node] : walked.found) paths.push_back(path);
  return paths;
}

TEST_P(WalkTest, AnEmptySourceIsListed) {
  const Walked walked = WalkAll();
  EXPECT_THAT(walked.found, IsEmpty());
  EXPECT_THAT(walked.listed, ElementsAre(""));
}

TEST_P(WalkTest, GivesWhatAnIndependentListingGives) {
  std::mt19937 random(20261123);
  std::vector<std::string> directories = {""};
  for (int i = 0; i < 3000; ++i) {
    const std::string& parent = directories[random() % directories.size()];
    const std::string path = (parent.empty() ? "" : parent + "/") + absl::StrCat("\n\xff name ", i);
    const unsigned long kind = random() % 10;
    if (kind < 2) {
      MakeDirectory(path);
      directories.push_back(path);
    } else if (kind < 4) {
      ASSERT_EQ(::symlink(path.c_str(), At(path).c_str()), 0);
    } else if (kind < 5) {
      ASSERT_EQ(::mkfifo(At(path).c_str(), 0600), 0);
    } else {
      WriteFile(path, random() % 5000);
    }
  }
  const std::map<std::string, struct stat> expected = ListIndependently();
  ASSERT_EQ(expected.size(), 3000u);
  for (const std::size_t max : {1, 7, 100, 100000}) {
    const Walked walked = WalkAll(max);
    EXPECT_EQ(walked.seen, 3000u);
    EXPECT_LE(walked.largest_step, max);
    EXPECT_THAT(walked.unreadable, IsEmpty());
    EXPECT_EQ(walked.listed.size(), directories.size());
    ASSERT_EQ(walked.found.size(), expected.size());
    for (const auto& [path, stat] : expected) {
      const auto found = walked.found.find(path);
      ASSERT_NE(found, walked.found.end()) << path;
      const model::Metadata& metadata = found->second.metadata;
      EXPECT_EQ(metadata.mode, stat.st_mode & 07777u);
      EXPECT_EQ(metadata.type == model::NodeType::kDirectory, S_ISDIR(stat.st_mode));
      EXPECT_EQ(metadata.ctime.seconds, stat.st_ctim.tv_sec);
      EXPECT_EQ(metadata.ctime.nanoseconds, stat.st_ctim.tv_nsec);
      model::FileId id;
      ASSERT_EQ(os::IdAt(AT_FDCWD, At(path).c_str(), &id), 0);
      EXPECT_EQ(found->second.id, id);
    }
  }
}

TEST_P(WalkTest, StreamsAFlatDirectory) {
  for (int i = 0; i < 5000; ++i) WriteFile(absl::StrCat("file", i));
  const std::unique_ptr<Walk> walk = Begin();
  Walk::Step first = walk->Next(10);
  EXPECT_EQ(first.found.size(), 10u);
  EXPECT_THAT(first.listed, IsEmpty());
  const Walked rest = Finish(walk.get(), tree_->root(), 64);
  EXPECT_EQ(rest.found.size(), 4990u);
  EXPECT_LE(rest.largest_step, 64u);
  EXPECT_THAT(rest.listed, ElementsAre(""));
}

TEST_P(WalkTest, ThreadsEndInTheMidst) {
  constexpr int kFiles = 40'000;
  MakeDirectory("flat");
  for (int i = 0; i < kFiles; ++i) WriteFile(absl::StrCat("flat/file", i));
  std::size_t given = 0;
  for (int steps = 0; steps < 3; ++steps) {
    const std::unique_ptr<Walk> walk = Begin(2);
    for (int i = 0; i < steps; ++i) given += walk->Next(10'000).found.size();
  }
  EXPECT_LT(given, static_cast<std::size_t>(kFiles)) << "else the walk was not in its midst";
  const std::unique_ptr<Walk> walk = Begin(2);
  EXPECT_EQ(Finish(walk.get(), tree_->root(), 1000).found.size(), kFiles + 1u);
}

TEST_P(WalkTest, LeavesOutWhatIsExcluded) {
  for (const char* dir : {"cache", "cache/deep", "keep", "ignored", "ignored/deep", "keep/ignored",
                          ".fanmirror", "keep/.fanmirror"}) {
    MakeDirectory(dir);
  }
  for (const char* file : {"a.tmp", "cache/x", "keep/b.tmp", "keep/c", "ignored/d", ".fanmirror/e"})
    WriteFile(file);
  Exclude({"*.tmp", "/cache/"});
  selection_.ignored = {"ignored"};
  const Walked walked = WalkAll();
  EXPECT_THAT(Paths(walked), UnorderedElementsAre("keep", "keep/ignored", "keep/.fanmirror", "keep/c"));
  EXPECT_THAT(walked.listed, UnorderedElementsAre("", "keep", "keep/ignored", "keep/.fanmirror"));
  EXPECT_EQ(walked.seen, 9u);  // five at the root, four in keep: excluded directories were not entered
  const Total total = Count(*tree_, selection_, false);
  EXPECT_EQ(total.files, 1u);
}

TEST_P(WalkTest, BeginsAtASubdirectoryWithItsPath) {
  MakeDirectory("a");
  MakeDirectory("a/b");
  WriteFile("a/b/c");
  WriteFile("outside");
  Exclude({"/b"});  // anchored at the source's root, so "a/b" is not meant
  model::FileId dir;
  ASSERT_EQ(os::IdAt(AT_FDCWD, At("a").c_str(), &dir), 0);
  const std::unique_ptr<Walk> walk = Walk::Begin(tree_.get(), &selection_, dir, "a", 1);
  const Walk::Step step = walk->Next(1000);
  ASSERT_EQ(step.found.size(), 2u);
  EXPECT_EQ(step.found[0].path, "a/b");
  EXPECT_EQ(step.found[1].path, "a/b/c");
  EXPECT_EQ(step.listed.size(), 2u);
  EXPECT_TRUE(step.done);
}

TEST_P(WalkTest, CountsFilesAndBytes) {
  MakeDirectory("dir");
  WriteFile("a", 1000);
  WriteFile("dir/b", 234);
  ASSERT_EQ(::symlink("target", At("dir/link").c_str()), 0);
  ASSERT_EQ(::mkfifo(At("dir/fifo").c_str(), 0600), 0);
  std::atomic<bool> stop = false;
  const Total total = Count(*tree_, selection_, stop);
  EXPECT_EQ(total.files, 4u);
  EXPECT_EQ(total.bytes, 1234u);
  stop = true;
  EXPECT_EQ(Count(*tree_, selection_, stop).files, 0u);
}

TEST_P(WalkTest, ADirectoryThatWentMeanwhileIsNeitherListedNorUnreadable) {
  MakeDirectory("one");
  MakeDirectory("two");
  const std::unique_ptr<Walk> walk = Begin();
  Walk::Step step = walk->Next(2);
  ASSERT_EQ(step.found.size(), 2u);
  for (const char* dir : {"one", "two"}) ASSERT_EQ(::rmdir(At(dir).c_str()), 0);
  step = walk->Next(1000);
  EXPECT_TRUE(step.done);
  EXPECT_THAT(step.found, IsEmpty());
  EXPECT_THAT(step.listed, ElementsAre(tree_->root()));
  EXPECT_THAT(step.unreadable, IsEmpty());
}

TEST_P(WalkTest, ADirectoryThatMovesMeanwhileIsListed) {
  MakeDirectory("one");
  WriteFile("one/file");
  const std::unique_ptr<Walk> walk = Begin();
  ASSERT_EQ(walk->Next(1).found.size(), 1u);
  ASSERT_EQ(::rename(At("one").c_str(), (filesystem_->path() + "/elsewhere").c_str()), 0);
  const Walk::Step step = walk->Next(1000);
  ASSERT_EQ(step.found.size(), 1u);
  EXPECT_EQ(step.found[0].name.name, "file");
  EXPECT_EQ(step.listed.size(), 2u);
}

TEST_P(WalkTest, DepthIsNotLimited) {
  constexpr int kDepth = 5000;
  const std::string name(40, 'd');  // paths of 205,000 bytes
  os::UniqueFd dir(::open(At("").c_str(), O_PATH | O_CLOEXEC));
  for (int depth = 0; depth < kDepth; ++depth) {
    ASSERT_EQ(::mkdirat(dir.get(), name.c_str(), 0755), 0);
    ASSERT_EQ(::mknodat(dir.get(), "file", S_IFREG | 0644, 0), 0);
    dir.reset(::openat(dir.get(), name.c_str(), O_PATH | O_CLOEXEC));
    ASSERT_TRUE(dir) << depth;
  }
  dir.reset();
  const std::unique_ptr<Walk> walk = Begin();
  std::uint64_t files = 0;
  std::uint64_t listed = 0;
  std::size_t longest = 0;
  for (bool done = false; !done;) {
    const Walk::Step step = walk->Next(1000000);
    done = step.done;
    std::size_t bytes = 0;
    for (const Found& found : step.found) {
      files += found.node.metadata.type == model::NodeType::kRegular;
      longest = std::max(longest, found.path.size());
      bytes += found.path.size();
    }
    EXPECT_LT(bytes, 16u << 20);
    listed += step.listed.size();
    EXPECT_THAT(step.unreadable, IsEmpty());
  }
  EXPECT_EQ(files, 5000u);
  EXPECT_EQ(listed, 5001u);
  EXPECT_EQ(longest, std::size_t{41} * kDepth - 1);
  EXPECT_EQ(Count(*tree_, selection_, false).files, 5000u);
}

TEST_P(WalkTest, WhatExistedThroughoutIsGivenOnce) {
  constexpr int kDirectories = 3;
  constexpr int kFiles = 2000;
  for (int d = 0; d < kDirectories; ++d) {
    MakeDirectory(absl::StrCat("dir", d));
    for (int i = 0; i < kFiles; ++i) WriteFile(absl::StrCat("dir", d, "/stays", i));
  }
  std::atomic<bool> stop = false;
  std::atomic<int> churned = 0;
  std::thread churn([&] {
    std::mt19937 random(7);
    for (int i = 0; !stop; ++i) {
      const std::string path =
          At(absl::StrCat("dir", random() % kDirectories, "/", std::string(kComesAndGoes), random() % 500));
      if (random() % 2 == 0) {
        const os::UniqueFd made(::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
      } else {
        ::unlink(path.c_str());
      }
      churned = i;
    }
  });
  while (churned < 500) std::this_thread::yield();
  for (int round = 0; round < 5; ++round) {
    const int before = churned;
    const std::unique_ptr<Walk> walk = Begin(round % 2 == 0 ? kThreads : 1);
    const Walked walked = Finish(walk.get(), tree_->root(), 50);
    EXPECT_THAT(walked.unreadable, IsEmpty());
    EXPECT_EQ(walked.listed.size(), kDirectories + 1u);
    int stayed = 0;
    for (const auto& [path, node] : walked.found) stayed += path.find("/stays") != std::string::npos;
    EXPECT_EQ(stayed, kDirectories * kFiles);
    EXPECT_GT(churned, before);
  }
  stop = true;
  churn.join();
}

// Filesystems that do not say in a listing what an entry is.
class UntypedListingTest : public WalkTest {
 protected:
  void SetUp() override {
    if (!os::testing::IsRoot()) GTEST_SKIP() << "mounting needs root";
    absl::StatusOr<std::unique_ptr<ScopedFilesystem>> made =
        ScopedFilesystem::Create("ext4", ScopedFilesystem::kDefaultBytes, {"-O", "^filetype"});
    ASSERT_TRUE(made.ok()) << made.status();
    filesystem_ = *std::move(made);
    MakeDirectory("");
    OpenTree();
  }
};
INSTANTIATE_TEST_SUITE_P(On, UntypedListingTest, ::testing::Values("ext4"));

TEST_P(UntypedListingTest, TypesAreFoundOutByStat) {
  for (const char* dir : {"cache", "dir"}) MakeDirectory(dir);
  for (const char* file : {"cache/x", "dir/cache", "dir/file"}) WriteFile(file, 10);
  ASSERT_EQ(::symlink("target", At("dir/link").c_str()), 0);
  DIR* listing = ::opendir(At("dir").c_str());
  ASSERT_NE(listing, nullptr);
  EXPECT_EQ(::readdir(listing)->d_type, DT_UNKNOWN);
  ::closedir(listing);
  Exclude({"cache/"});
  const Walked walked = WalkAll();
  EXPECT_THAT(Paths(walked), UnorderedElementsAre("dir", "dir/cache", "dir/file", "dir/link"));
  EXPECT_THAT(walked.listed, UnorderedElementsAre("", "dir"));
  const Total total = Count(*tree_, selection_, false);
  EXPECT_EQ(total.files, 3u);
  EXPECT_EQ(total.bytes, 20u);
}

class ShutdownWalkTest : public WalkTest {};
INSTANTIATE_TEST_SUITE_P(On, ShutdownWalkTest, ::testing::Values("xfs"));

// What cannot be read any more is neither listed nor passed over in silence.
TEST_P(ShutdownWalkTest, NothingUnreadableIsListed) {
  for (int d = 0; d < 20; ++d) {
    MakeDirectory(absl::StrCat("dir", d));
    for (int i = 0; i < 10; ++i) WriteFile(absl::StrCat("dir", d, "/file", i));
  }
  const std::unique_ptr<Walk> walk = Begin();
  Walk::Step step = walk->Next(21);  // the root alone
  ASSERT_EQ(step.found.size(), 20u);
  ASSERT_THAT(step.listed, ElementsAre(tree_->root()));
  std::uint32_t without_log = 2;
  ASSERT_EQ(::ioctl(tree_->root_fd(), _IOR('X', 125, std::uint32_t), &without_log), 0);
  step = walk->Next(1000);
  EXPECT_TRUE(step.done);
  EXPECT_THAT(step.found, IsEmpty());
  EXPECT_THAT(step.listed, IsEmpty());
  ASSERT_EQ(step.unreadable.size(), 20u);
  EXPECT_THAT(step.unreadable[0].first, ::testing::StartsWith("dir"));
  EXPECT_FALSE(step.unreadable[0].second.ok());
}

class CorruptionWalkTest : public WalkTest {};
INSTANTIATE_TEST_SUITE_P(On, CorruptionWalkTest, ::testing::Values("ext4"));

// An entry that cannot be looked at is there nevertheless: its directory must not count as listed without it.
TEST_P(CorruptionWalkTest, ADirectoryWithAnEntryThatFailsIsNotListed) {
  MakeDirectory("dir");
  MakeDirectory("dir/below");
  for (int i = 0; i < 10; ++i) WriteFile(absl::StrCat("dir/file", i));
  const timespec times[2] = {{0, UTIME_OMIT}, {0x5A17C3E9, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, At("dir/file5").c_str(), times, 0), 0);
  tree_.reset();
  ASSERT_TRUE(filesystem_->Unmount().ok());
  ASSERT_TRUE(filesystem_->WaitUntilReleased().ok());
  const absl::Status corrupted = filesystem_->Corrupt("\xE9\xC3\x17\x5A");
  ASSERT_TRUE(corrupted.ok()) << corrupted;
  ASSERT_TRUE(filesystem_->Mount().ok());
  OpenTree();
  for (const std::size_t max : {1, 1000}) {
    const Walked walked = WalkAll(max);
    EXPECT_EQ(walked.found.size(), 11u);
    EXPECT_THAT(walked.listed, UnorderedElementsAre("", "dir/below"));
    ASSERT_EQ(walked.unreadable.size(), 1u);
    EXPECT_EQ(walked.unreadable[0].first, "dir");
    EXPECT_THAT(std::string(walked.unreadable[0].second.message()), ::testing::HasSubstr("file5"));
  }
}

class SubvolumeWalkTest : public WalkTest {};
INSTANTIATE_TEST_SUITE_P(On, SubvolumeWalkTest, ::testing::Values("btrfs"));

TEST_P(SubvolumeWalkTest, NestedSubvolumesAreWalked) {
  ASSERT_TRUE(RunCommand({"btrfs", "subvolume", "create", At("nested")}).ok());
  MakeDirectory("nested/dir");
  WriteFile("nested/dir/file", 5);
  const Walked walked = WalkAll();
  EXPECT_THAT(Paths(walked), UnorderedElementsAre("nested", "nested/dir", "nested/dir/file"));
  EXPECT_THAT(walked.listed, UnorderedElementsAre("", "nested", "nested/dir"));
  EXPECT_EQ(Count(*tree_, selection_, false).bytes, 5u);
}

TEST(Selection, KnowsTheReceiversOwnAndTheIgnored) {
  Selection selection;
  selection.ignored = {"state/dir"};
  EXPECT_FALSE(selection.Excludes("", true));
  EXPECT_TRUE(selection.Excludes(".fanmirror", true));
  EXPECT_FALSE(selection.Excludes(".fanmirror2", true));
  EXPECT_FALSE(selection.Excludes("a/.fanmirror", true));
  EXPECT_TRUE(selection.Excludes("state/dir", true));
  EXPECT_FALSE(selection.Excludes("state", true));
  EXPECT_FALSE(selection.ExcludesWithParents("", true));
  EXPECT_TRUE(selection.ExcludesWithParents(".fanmirror/x", false));
  EXPECT_FALSE(selection.ExcludesWithParents(".fanmirror2/x", false));
  EXPECT_TRUE(selection.ExcludesWithParents("state/dir", true));
  EXPECT_TRUE(selection.ExcludesWithParents("state/dir/x/y", false));
  EXPECT_FALSE(selection.ExcludesWithParents("state/directory", false));
}

}  // namespace
}  // namespace fanmirror::scan
