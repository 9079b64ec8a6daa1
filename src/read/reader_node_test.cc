#include <linux/posix_acl_xattr.h>
#include <sys/inotify.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <algorithm>

#include "model/failure.h"
#include "os/clock.h"
#include "read/reader_fixture.h"

namespace fanmirror::read {
namespace {

class ReaderNode : public ReaderTest {
 protected:
  void SetXattr(const std::string& file, const std::string& name, std::string_view value) {
    ASSERT_EQ(::lsetxattr(At(file).c_str(), name.c_str(), value.data(), value.size(), 0), 0)
        << file << " " << name << ": " << std::strerror(errno);
  }
};

using Xattrs = std::vector<model::Xattr>;

// u::rwx u:1000:r-x g::r-x m::r-x o::---
std::string Acl() {
  std::string acl;
  const auto append = [&acl](std::uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) acl.push_back(static_cast<char>(value >> (8 * i)));
  };
  append(POSIX_ACL_XATTR_VERSION, 4);
  const std::uint64_t entries[][3] = {{0x01, 7, 0xffffffff},
                                      {0x02, 5, 1000},
                                      {0x04, 5, 0xffffffff},
                                      {0x10, 5, 0xffffffff},
                                      {0x20, 0, 0xffffffff}};
  for (const auto& [tag, permissions, id] : entries) {
    append(tag, 2);
    append(permissions, 2);
    append(id, 4);
  }
  return acl;
}

TEST_P(ReaderNode, XattrsOfAFile) {
  Write("f", "content");
  const std::string capability(
      "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 20);
  SetXattr("f", "user.z", "last");
  SetXattr("f", "user.empty", "");
  SetXattr("f", "user.binary", std::string_view("a\0b", 3));
  SetXattr("f", "trusted.t", "secret");
  SetXattr("f", "security.capability", capability);
  SetXattr("f", "system.posix_acl_access", Acl());
  const Xattrs expected = {{"security.capability", capability},
                           {"system.posix_acl_access", Acl()},
                           {"trusted.t", "secret"},
                           {"user.binary", std::string("a\0b", 3)},
                           {"user.empty", ""},
                           {"user.z", "last"}};
  EXPECT_EQ(Read({.id = Id("f")}).begin->xattrs, expected);
  EXPECT_EQ(ReadContent("f").begin->xattrs, expected);
}

TEST_P(ReaderNode, XattrsOfADirectory) {
  ASSERT_EQ(::mkdir(At("d").c_str(), 0750), 0);
  SetXattr("d", "user.a", "1");
  SetXattr("d", "system.posix_acl_access", Acl());
  SetXattr("d", "system.posix_acl_default", Acl());
  const Xattrs expected = {
      {"system.posix_acl_access", Acl()}, {"system.posix_acl_default", Acl()}, {"user.a", "1"}};
  EXPECT_EQ(Read({.id = Id("d"), .content = true}).begin->xattrs, expected);
}

TEST_P(ReaderNode, XattrsOfWhatIsNotOpened) {
  ASSERT_EQ(::symlink("nowhere", At("link").c_str()), 0);
  ASSERT_EQ(::mkfifo(At("fifo").c_str(), 0600), 0);
  ASSERT_EQ(::mknod(At("socket").c_str(), S_IFSOCK | 0600, 0), 0);
  ASSERT_EQ(::mknod(At("device").c_str(), S_IFCHR | 0600, makedev(10, 130)), 0);
  for (const char* name : {"link", "fifo", "socket", "device"}) {
    SCOPED_TRACE(name);
    SetXattr(name, "trusted.who", name);
    EXPECT_EQ(Read({.id = Id(name)}).begin->xattrs, (Xattrs{{"trusted.who", name}}));
  }
}

TEST_P(ReaderNode, LargeAndManyXattrs) {
  Write("f", "content");
  // ext4 takes what fits a block, btrfs a value that fits a leaf of its tree.
  const int names = fstype() == "ext4" ? 9 : 200;
  const std::size_t value_bytes = fstype() == "ext4" ? 1000 : fstype() == "btrfs" ? 16'000 : 65'536;
  Xattrs expected;
  for (int i = 0; i < names; ++i) {
    expected.push_back({absl::StrCat("user.", 1000 + i, std::string(200, 'n')), absl::StrCat(i)});
    SetXattr("f", expected.back().name, expected.back().value);
  }
  expected.push_back({"user.value", std::string(value_bytes, 'v')});
  SetXattr("f", expected.back().name, expected.back().value);
  EXPECT_EQ(ReadContent("f").begin->xattrs, expected);
}

TEST_P(ReaderNode, Symlinks) {
  // As long as the filesystem takes them.
  const std::size_t longest = fstype() == "xfs" ? 1023 : fstype() == "btrfs" ? 3900 : 4095;
  for (const std::string& target :
       {std::string("a"), std::string("/absolute/\n\xff"), std::string(longest, 'x')}) {
    ASSERT_EQ(::symlink(target.c_str(), At("link").c_str()), 0) << std::strerror(errno);
    const Result result = Read({.id = Id("link")});
    ASSERT_TRUE(result.end.has_value()) << result.failure;
    EXPECT_EQ(result.begin->symlink_target, target);
    EXPECT_EQ(result.begin->metadata, Stat("link"));
    EXPECT_EQ(result.begin->metadata.type, model::NodeType::kSymlink);
    ASSERT_EQ(::unlink(At("link").c_str()), 0);
  }
}

// To open a device or a fifo is to do something to it: a watchdog starts, a writer is let go.
TEST_P(ReaderNode, DevicesAndFifosAreNotOpened) {
  ASSERT_EQ(::mkfifo(At("fifo").c_str(), 0600), 0);
  ASSERT_EQ(::mknod(At("null").c_str(), S_IFCHR | 0600, makedev(1, 3)), 0);
  ASSERT_EQ(::mknod(At("socket").c_str(), S_IFSOCK | 0600, 0), 0);
  Write("file", "content");
  const os::UniqueFd watch(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  for (const char* name : {"fifo", "null", "socket"}) {
    ASSERT_GE(::inotify_add_watch(watch.get(), At(name).c_str(), IN_OPEN), 0);
  }
  for (const char* name : {"fifo", "null", "socket"}) {
    SCOPED_TRACE(name);
    const Result result = ReadContent(name);
    ASSERT_TRUE(result.end.has_value()) << result.failure;
    EXPECT_EQ(result.begin->metadata, Stat(name));
    EXPECT_EQ(result.pieces, 0u);
  }
  char events[4096];
  EXPECT_EQ(::read(watch.get(), events, sizeof events), -1) << "something was opened";
  // And this is how it would have been seen.
  ASSERT_GE(::inotify_add_watch(watch.get(), At("file").c_str(), IN_OPEN), 0);
  ReadContent("file");
  EXPECT_GT(::read(watch.get(), events, sizeof events), 0);
}

TEST_P(ReaderNode, LeavesTheAccessTimeAlone) {
  Write("f", "content");
  const timespec times[2] = {{1, 0}, {2'000'000'000, 0}};  // older than mtime: relatime would update it
  ASSERT_EQ(::utimensat(AT_FDCWD, At("f").c_str(), times, 0), 0);
  ReadContent("f");
  struct stat status {};
  ASSERT_EQ(::stat(At("f").c_str(), &status), 0);
  EXPECT_EQ(status.st_atim.tv_sec, 1);
}

TEST_P(ReaderNode, Gone) {
  for (const char* name : {"before", "between", "open", "left"}) Write(name, name);
  const os::UniqueFd held = Create("open");
  const model::FileId before = Id("before");
  ASSERT_EQ(::unlink(At("before").c_str()), 0);
  reader()->Submit({.id = before, .content = true});
  reader()->Submit({.id = Id("between"), .content = true});
  reader()->Submit({.id = Id("open"), .content = true});
  reader()->Submit({.id = Id("left"), .content = true});
  ASSERT_EQ(::unlink(At("between").c_str()), 0);
  ASSERT_EQ(::unlink(At("open").c_str()), 0);
  EXPECT_TRUE(TakeResult(reader()).gone);
  EXPECT_TRUE(TakeResult(reader()).gone);
  EXPECT_TRUE(TakeResult(reader()).gone);
  EXPECT_EQ(TakeResult(reader()).data, "left");
}

TEST_P(ReaderNode, AnotherFileOfTheSameNameIsNotTaken) {
  Write("f", "old");
  const model::FileId id = Id("f");
  Write("new", "new");
  ASSERT_EQ(::rename(At("f").c_str(), At("moved").c_str()), 0);
  ASSERT_EQ(::rename(At("new").c_str(), At("f").c_str()), 0);
  EXPECT_EQ(Read({.id = id, .content = true}).data, "old");
}

TEST_P(ReaderNode, AFreshFileIsRacyForAWhile) {
  Write("f", "content");
  const Result fresh = ReadContent("f");
  const std::int64_t written =
      fresh.begin->metadata.ctime.seconds * 1'000'000'000 + fresh.begin->metadata.ctime.nanoseconds;
  EXPECT_TRUE(fresh.end->racy || os::RealtimeNs() - written >= os::kRacyWindowNs);
  while (os::RealtimeNs() - written < os::kRacyWindowNs) {
  }
  EXPECT_FALSE(ReadContent("f").end->racy);
}

FANMIRROR_ON_ALL_FILESYSTEMS(ReaderNode);

// What no other filesystem takes or shows.
class ReaderOfBtrfs : public ReaderNode {};

TEST_P(ReaderOfBtrfs, MoreXattrNamesThanCanBeListed) {
  Write("f", "content");
  Write("g", "content");
  for (int i = 0; i < 300; ++i) SetXattr("f", absl::StrCat("user.", 1000 + i, std::string(246, 'n')), "");
  reader()->Submit({.id = Id("f"), .content = true});
  reader()->Submit({.id = Id("g"), .content = true});
  const Result result = TakeResult(reader());
  EXPECT_FALSE(result.begin.has_value());
  ASSERT_FALSE(result.failure.ok());
  EXPECT_EQ(model::ReactionOf(result.failure), model::Reaction::kSkipAndReport);
  EXPECT_NE(result.failure.message().find("'f'"), std::string::npos) << result.failure;
  EXPECT_EQ(TakeResult(reader()).data, "content");
}

TEST_P(ReaderOfBtrfs, PropertiesOfTheFilesystemAreNotReplicated) {
  Write("f", "content");
  SetXattr("f", "btrfs.compression", "zlib");
  SetXattr("f", "user.a", "1");
  EXPECT_EQ(Read({.id = Id("f")}).begin->xattrs, (Xattrs{{"user.a", "1"}}));
}

INSTANTIATE_TEST_SUITE_P(Btrfs, ReaderOfBtrfs,
                         ::testing::Combine(::testing::Values("btrfs"),
                                            ::testing::Values(os::Ring::Kind::kBest)),
                         NameOf);

}  // namespace
}  // namespace fanmirror::read
