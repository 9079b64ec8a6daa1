#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "model/failure.h"
#include "os/testing/filesystem.h"
#include "os/testing/tree_fixture.h"

namespace fanmirror::os {
namespace {

using model::FileId;
using testing::AllFilesystems;
using testing::RunCommand;
using testing::ScopedFilesystem;
using testing::TreeTest;
using Place = Tree::Place;

class PlaceTest : public TreeTest {
 protected:
  Place Locate(const FileId& id) {
    absl::StatusOr<Place> place = tree_->Locate(id);
    EXPECT_TRUE(place.ok()) << place.status();
    return place.ok() ? *place : Place();
  }
  std::optional<std::string> PathOfOpen(const FileId& id) {
    auto fd = tree_->OpenNode(id, O_PATH);
    EXPECT_TRUE(fd.ok() && fd->has_value()) << fd.status();
    auto path = tree_->PathOfOpen(id, (*fd)->get());
    EXPECT_TRUE(path.ok()) << path.status();
    return path.ok() ? *path : std::nullopt;
  }
  std::optional<std::string> PathByName(const FileId& id, const model::Name& name) {
    auto path = tree_->PathByName(id, name);
    EXPECT_TRUE(path.ok()) << path.status();
    return path.ok() ? *path : std::nullopt;
  }
  void ExpectInside(const FileId& id, const std::string& path, const FileId& parent,
                    const std::string& name) {
    const Place place = Locate(id);
    EXPECT_EQ(place.kind, Place::Kind::kInside) << model::QuotePath(path);
    EXPECT_EQ(place.path, path);
    EXPECT_EQ(place.name, (model::Name{parent, name}));
  }
};

INSTANTIATE_TEST_SUITE_P(OnEach, PlaceTest, ::testing::ValuesIn(AllFilesystems()),
                         [](const auto& instance) { return instance.param; });

// A chain of `depth` directories named `name` in directory `at`; returns the last.
UniqueFd MakeChain(const std::string& at, const std::string& name, int depth) {
  UniqueFd dir(::open(at.c_str(), O_PATH | O_CLOEXEC));
  for (int i = 0; i < depth; ++i) {
    EXPECT_EQ(::mkdirat(dir.get(), name.c_str(), 0755), 0);
    dir.reset(::openat(dir.get(), name.c_str(), O_PATH | O_CLOEXEC));
  }
  EXPECT_TRUE(dir);
  return dir;
}

FileId IdOfFd(int fd) {
  FileId id;
  EXPECT_EQ(IdAt(fd, "", &id), 0);
  return id;
}

TEST_P(PlaceTest, TheRootIsInside) {
  const Place place = Locate(tree_->root());
  EXPECT_EQ(place.kind, Place::Kind::kInside);
  EXPECT_EQ(place.path, "");
}

TEST_P(PlaceTest, DirectoriesAreFoundWhereTheyAre) {
  MakeDirectory("source/a");
  MakeDirectory("source/a/b");
  const FileId a = IdOf("source/a");
  const FileId b = IdOf("source/a/b");
  ExpectInside(a, "a", tree_->root(), "a");
  ExpectInside(b, "a/b", a, "b");
  Rename("source/a", "source/c");
  ExpectInside(b, "c/b", a, "b");
  Rename("source/c/b", "source/c (deleted)");
  ExpectInside(b, "c (deleted)", tree_->root(), "c (deleted)");
}

TEST_P(PlaceTest, AnyNameIsFound) {
  for (const std::string& name : {std::string("new\nline"), std::string("\xff\xfe"), std::string(255, 'n'),
                                  std::string("..."), std::string("x\\012y"), std::string(" (deleted)")}) {
    MakeDirectory("source/" + name);
    ExpectInside(IdOf("source/" + name), name, tree_->root(), name);
  }
}

TEST_P(PlaceTest, OutsideIsOutside) {
  MakeDirectory("outside/dir");
  WriteFile("outside/file", "");
  EXPECT_EQ(Locate(IdOf("outside/dir")).kind, Place::Kind::kOutside);
  EXPECT_EQ(Locate(IdOf("outside")).kind, Place::Kind::kOutside);
  EXPECT_EQ(Locate(IdOf("")).kind, Place::Kind::kOutside);
  EXPECT_NE(Locate(IdOf("outside/file")).kind, Place::Kind::kInside);
  MakeDirectory("source/dir");
  const FileId moved = IdOf("source/dir");
  Rename("source/dir", "outside/moved");
  EXPECT_EQ(Locate(moved).kind, Place::Kind::kOutside);
  Rename("outside/moved", "source/back");
  ExpectInside(moved, "back", tree_->root(), "back");
}

// The same path beneath the source must not be taken for the node of a path outside.
TEST_P(PlaceTest, APathOutsideThatAlsoExistsInsideIsNotMistaken) {
  for (const char* dir : {"same", "source/same"}) MakeDirectory(dir);
  WriteFile("same/file", "");
  WriteFile("source/same/file", "");
  EXPECT_EQ(Locate(IdOf("same")).kind, Place::Kind::kOutside);
  EXPECT_NE(Locate(IdOf("same/file")).kind, Place::Kind::kInside);
  EXPECT_EQ(Locate(IdOf("source/same")).kind, Place::Kind::kInside);
}

TEST_P(PlaceTest, FilesAreFoundOrUnknownButNeverMistaken) {
  MakeDirectory("source/dir");
  for (int i = 0; i < 100; ++i) {
    const std::string name = absl::StrCat("file", i);
    WriteFile("source/dir/" + name, "");
    ExpectInside(IdOf("source/dir/" + name), "dir/" + name, IdOf("source/dir"), name);
  }
  if (GetParam() == "tmpfs") return;  // its names are never forgotten
  const FileId file = IdOf("source/dir/file50");
  const FileId dir = IdOf("source/dir");
  tree_.reset();
  ASSERT_TRUE(filesystem_->Unmount().ok());
  ASSERT_TRUE(filesystem_->WaitUntilReleased().ok());
  ASSERT_TRUE(filesystem_->Mount().ok());
  OpenTree(At("source"));
  EXPECT_EQ(Locate(file).kind, Place::Kind::kUnknown);
  EXPECT_EQ(PathOfOpen(file), std::nullopt);
  EXPECT_EQ(PathByName(file, {dir, "file51"}), std::nullopt);
  EXPECT_EQ(PathByName(file, {dir, "no file"}), std::nullopt);
  EXPECT_EQ(PathByName(file, {IdOf("source/dir/file51"), "file50"}), std::nullopt);
  EXPECT_EQ(PathByName(file, {dir, "file50"}), "dir/file50");
  ExpectInside(dir, "dir", tree_->root(), "dir");
  WriteFile("source/dir/file50", "");  // now the kernel has met its name
  ExpectInside(file, "dir/file50", dir, "file50");
}

TEST_P(PlaceTest, WhatIsOpenHasThePathOfTheMoment) {
  MakeDirectory("source/dir");
  WriteFile("source/dir/file", "");
  const FileId dir = IdOf("source/dir");
  const FileId file = IdOf("source/dir/file");
  EXPECT_EQ(PathOfOpen(tree_->root()), "");
  EXPECT_EQ(PathOfOpen(dir), "dir");
  EXPECT_EQ(PathOfOpen(file), "dir/file");
  Rename("source/dir", "source/dir (deleted)");
  EXPECT_EQ(PathOfOpen(dir), "dir (deleted)");
  EXPECT_EQ(PathOfOpen(file), "dir (deleted)/file");
  const auto fd = tree_->OpenNode(file, O_PATH);
  ASSERT_TRUE(fd.ok() && fd->has_value());
  ASSERT_EQ(::unlink(At("source/dir (deleted)/file").c_str()), 0);
  const auto removed = tree_->PathOfOpen(file, (*fd)->get());
  EXPECT_TRUE(removed.ok() && !removed->has_value());
  Rename("source/dir (deleted)", "moved out");
  EXPECT_EQ(PathOfOpen(dir), std::nullopt);
}

TEST_P(PlaceTest, AFileIsFoundAtOneOfItsLinks) {
  WriteFile("source/one", "");
  ASSERT_EQ(::link(At("source/one").c_str(), At("source/two").c_str()), 0);
  const FileId id = IdOf("source/one");
  ASSERT_EQ(::unlink(At("source/one").c_str()), 0);
  FileId two;
  ASSERT_EQ(IdAt(AT_FDCWD, At("source/two").c_str(), &two), 0);
  EXPECT_EQ(id, two);
  const Place place = Locate(id);
  EXPECT_TRUE(place.kind == Place::Kind::kUnknown ||
              (place.kind == Place::Kind::kInside && place.path == "two"))
      << place.path;
}

TEST_P(PlaceTest, SymlinksAndDevicesAreNotFollowed) {
  MakeDirectory("source/dir");
  ASSERT_EQ(::symlink("dir", At("source/link").c_str()), 0);
  ASSERT_EQ(::mkfifo(At("source/fifo").c_str(), 0600), 0);
  ExpectInside(IdOf("source/link"), "link", tree_->root(), "link");
  ExpectInside(IdOf("source/fifo"), "fifo", tree_->root(), "fifo");
}

TEST_P(PlaceTest, PathsBeyondPathMax) {
  MakeDirectory("source/top");
  WriteFile("source/top/not it", "");
  const std::string name(200, 'n');
  constexpr int kDepth = 50;
  const UniqueFd parent = MakeChain(At("source/top"), name, kDepth);
  const UniqueFd last = MakeChain(absl::StrCat("/proc/self/fd/", parent.get()), "last", 1);
  std::string path = "top";
  for (int i = 0; i < kDepth; ++i) path += "/" + name;
  ExpectInside(IdOfFd(last.get()), path + "/last", IdOfFd(parent.get()), "last");
  Rename("source/top", "outside/top");
  EXPECT_EQ(Locate(IdOfFd(last.get())).kind, Place::Kind::kOutside);
}

TEST_P(PlaceTest, FiveThousandLevels) {
  constexpr int kDepth = 5000;
  const UniqueFd last = MakeChain(At("source"), "d", kDepth);
  const Place place = Locate(IdOfFd(last.get()));
  EXPECT_EQ(place.kind, Place::Kind::kInside);
  std::string path = "d";
  for (int i = 1; i < kDepth; ++i) path += "/d";
  EXPECT_EQ(place.path, path);
}

TEST_P(PlaceTest, ATreeOfTheWholeFilesystemHasNoOutside) {
  OpenTree(filesystem_->path());
  ExpectInside(IdOf("outside"), "outside", tree_->root(), "outside");
}

TEST_P(PlaceTest, WhatLiesUnderAMountIsInside) {
  MakeDirectory("source/sub");
  MakeDirectory("source/sub/under");
  const FileId sub = IdOf("source/sub");
  const FileId under = IdOf("source/sub/under");
  ASSERT_TRUE(RunCommand({"mount", "-t", "tmpfs", "fanmirror-test", At("source/sub")}).ok());
  ExpectInside(under, "sub/under", sub, "under");
}

TEST_P(PlaceTest, ADirectoryBeingMovedIsNeverFoundElsewhere) {
  for (const char* dir : {"source/a", "source/b", "source/a/x"}) MakeDirectory(dir);
  const FileId id = IdOf("source/a/x");
  std::atomic<bool> stop = false;
  std::thread moving([&] {
    while (!stop) {
      ::rename(At("source/a/x").c_str(), At("source/b/x").c_str());
      ::rename(At("source/b/x").c_str(), At("source/a/x").c_str());
    }
  });
  for (int i = 0; i < 3000; ++i) {
    const absl::StatusOr<Place> place = tree_->Locate(id);
    if (!place.ok()) {  // it moved at each look: nothing is concluded
      EXPECT_EQ(model::ReactionOf(place.status()), model::Reaction::kRetry) << place.status();
      continue;
    }
    EXPECT_EQ(place->kind, Place::Kind::kInside);
    EXPECT_TRUE(place->path == "a/x" || place->path == "b/x") << place->path;
  }
  stop = true;
  moving.join();
}

class SubvolumeTest : public PlaceTest {};
INSTANTIATE_TEST_SUITE_P(On, SubvolumeTest, ::testing::Values("btrfs"));

// A subvolume has a device number of its own, but belongs to the tree.
TEST_P(SubvolumeTest, NestedSubvolumesArePartOfTheTree) {
  ASSERT_TRUE(RunCommand({"btrfs", "subvolume", "create", At("source/nested")}).ok());
  MakeDirectory("source/nested/dir");
  WriteFile("source/nested/dir/file", "content");
  const FileId nested = IdOf("source/nested");
  const FileId dir = IdOf("source/nested/dir");
  EXPECT_EQ(Look("nested")->id, nested);
  EXPECT_EQ(Look(dir, "file")->metadata.size, 7u);
  ExpectInside(nested, "nested", tree_->root(), "nested");
  ExpectInside(dir, "nested/dir", nested, "dir");
  const UniqueFd deep = MakeChain(At("source/nested/dir"), std::string(250, 'n'), 20);
  EXPECT_TRUE(Locate(IdOfFd(deep.get())).path.starts_with("nested/dir/nnn"));
  EXPECT_TRUE(Opens(IdOf("source/nested/dir/file"), O_RDONLY));
}

TEST_P(SubvolumeTest, ASnapshotsPlaceholdersAreNotEntries) {
  ASSERT_TRUE(RunCommand({"btrfs", "subvolume", "create", At("source/original")}).ok());
  ASSERT_TRUE(RunCommand({"btrfs", "subvolume", "create", At("source/original/nested")}).ok());
  WriteFile("source/original/file", "");
  ASSERT_TRUE(
      RunCommand({"btrfs", "subvolume", "snapshot", At("source/original"), At("source/snapshot")}).ok());
  const std::optional<model::Node> snapshot = Look("snapshot");
  ASSERT_TRUE(snapshot);
  EXPECT_NE(snapshot->id, IdOf("source/original"));
  EXPECT_TRUE(Look(snapshot->id, "file"));
  EXPECT_FALSE(Look(snapshot->id, "nested"));
}

}  // namespace
}  // namespace fanmirror::os
