// Every way to change something below the source is told, with at least what is needed to find it.
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "absl/strings/str_cat.h"
#include "watch/testing/watched_filesystem.h"

namespace fanmirror::watch {
namespace {

using ::testing::IsSupersetOf;
using ::testing::Not;

class Syscalls : public WatchedFilesystem {
 protected:
  std::string In(const std::string& name) const { return absl::StrCat(source_, "/dir/", name); }
  std::string Out(const std::string& name) const { return absl::StrCat(outside_, "/", name); }
  // A file that is there before the watching begins.
  model::FileId Existing(const std::string& path) {
    EXPECT_TRUE(WriteFile(path, "before")) << path;
    return IdOf(path);
  }
};

INSTANTIATE_TEST_SUITE_P(Filesystems, Syscalls, ::testing::ValuesIn(WatchedFilesystems()), TestName);

TEST_P(Syscalls, CreateAndWrite) {
  StartWatching();
  InAnotherProcess([&] { return WriteFile(In("new"), "content"); });
  EXPECT_THAT(Told(), IsSupersetOf({Name(In("new")), Content(IdOf(In("new")))}));
}

TEST_P(Syscalls, CreateAtTheRootOfTheSource) {
  StartWatching();
  InAnotherProcess([&] { return WriteFile(source_ + "/new", "content"); });
  EXPECT_THAT(Told(), IsSupersetOf({Name(source_ + "/new"), Content(IdOf(source_ + "/new"))}));
}

TEST_P(Syscalls, AppendToAFileThatStaysOpen) {
  const model::FileId log = Existing(In("log"));
  StartWatching();
  int ready[2];
  int finish[2];
  ASSERT_EQ(pipe2(ready, O_CLOEXEC), 0);
  ASSERT_EQ(pipe2(finish, O_CLOEXEC), 0);
  const pid_t writer = StartProcess([&] {
    const int fd = open(In("log").c_str(), O_WRONLY | O_APPEND);
    char byte = 0;
    return fd >= 0 && write(fd, "line\n", 5) == 5 && write(ready[1], "x", 1) == 1 &&
           read(finish[0], &byte, 1) == 1;
  });
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  EXPECT_THAT(Told(), IsSupersetOf({Content(log)}));
  ASSERT_EQ(write(finish[1], "x", 1), 1);
  ExpectSuccess(writer);
  for (const int fd : {ready[0], ready[1], finish[0], finish[1]}) close(fd);
}

TEST_P(Syscalls, Truncate) {
  const model::FileId file = Existing(In("file"));
  StartWatching();
  InAnotherProcess([&] { return truncate(In("file").c_str(), 2) == 0; });
  EXPECT_THAT(Told(), IsSupersetOf({Content(file)}));
}

TEST_P(Syscalls, Fallocate) {
  const model::FileId file = Existing(In("file"));
  StartWatching();
  InAnotherProcess([&] {
    const int fd = open(In("file").c_str(), O_WRONLY);
    return fallocate(fd, 0, 0, 65536) == 0;
  });
  EXPECT_THAT(Told(), IsSupersetOf({Content(file)}));
}

TEST_P(Syscalls, MappedWrite) {
  const model::FileId file = Existing(In("file"));
  StartWatching();
  InAnotherProcess([&] {
    const int fd = open(In("file").c_str(), O_RDWR);
    void* map = mmap(nullptr, 6, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) return false;
    static_cast<char*>(map)[0] = 'B';
    return munmap(map, 6) == 0 && close(fd) == 0;
  });
  EXPECT_THAT(Told(), IsSupersetOf({Content(file)}));
}

TEST_P(Syscalls, MetadataOfAFile) {
  struct Case {
    const char* what;
    std::function<bool(const std::string&)> act;
  };
  const Case cases[] = {
      {"chmod", [](const std::string& path) { return chmod(path.c_str(), 0600) == 0; }},
      {"chown", [](const std::string& path) { return chown(path.c_str(), 12, 34) == 0; }},
      {"setxattr",
       [](const std::string& path) { return setxattr(path.c_str(), "trusted.x", "1", 1, 0) == 0; }},
      {"removexattr", [](const std::string& path) { return removexattr(path.c_str(), "trusted.x") == 0; }},
      {"utimensat",
       [](const std::string& path) {
         const timespec times[2] = {{1, 2}, {3, 4}};
         return utimensat(AT_FDCWD, path.c_str(), times, 0) == 0;
       }},
      {"utimensat of mtime alone",
       [](const std::string& path) {
         const timespec times[2] = {{0, UTIME_OMIT}, {5, 6}};
         return utimensat(AT_FDCWD, path.c_str(), times, 0) == 0;
       }},
  };
  Existing(In("file"));
  StartWatching();
  for (const Case& each : cases) {
    for (const std::string& path : {In("file"), source_ + "/dir", source_}) {
      SCOPED_TRACE(absl::StrCat(each.what, " ", path));
      const model::FileId id = IdOf(path);
      InAnotherProcess([&] { return each.act(path); });
      const std::vector<model::Change> told = Told();
      EXPECT_TRUE(std::any_of(told.begin(), told.end(), [&](const model::Change& change) {
        return change.kind == model::Change::Kind::kNode && change.id == id;
      })) << ::testing::PrintToString(told);
    }
  }
}

TEST_P(Syscalls, MetadataOfASymlink) {
  ASSERT_EQ(symlink("nowhere", In("link").c_str()), 0);
  const model::FileId link = IdOf(In("link"));
  StartWatching();
  InAnotherProcess([&] { return lchown(In("link").c_str(), 12, 34) == 0; });
  EXPECT_THAT(Told(), IsSupersetOf({Attributes(link)}));
}

TEST_P(Syscalls, LinkAndUnlink) {
  const model::FileId file = Existing(In("file"));
  StartWatching();
  InAnotherProcess([&] { return link(In("file").c_str(), In("second").c_str()) == 0; });
  EXPECT_THAT(Told(), IsSupersetOf({Name(In("second"))}));
  InAnotherProcess([&] { return WriteFile(In("second"), "by the other name", 0); });
  EXPECT_THAT(Told(), IsSupersetOf({Content(file)}));
  InAnotherProcess([&] { return unlink(In("file").c_str()) == 0; });
  EXPECT_THAT(Told(), IsSupersetOf({Name(In("file"))}));
  InAnotherProcess([&] { return unlink(In("second").c_str()) == 0; });
  EXPECT_THAT(Told(), IsSupersetOf({Name(In("second"))}));
}

TEST_P(Syscalls, LinkFromOutside) {
  Existing(Out("file"));
  StartWatching();
  InAnotherProcess([&] { return link(Out("file").c_str(), In("file").c_str()) == 0; });
  EXPECT_THAT(Told(), IsSupersetOf({Name(In("file"))}));
}

TEST_P(Syscalls, RenameOfAFile) {
  Existing(In("file"));
  Existing(In("victim"));
  StartWatching();
  InAnotherProcess([&] { return rename(In("file").c_str(), In("moved").c_str()) == 0; });
  EXPECT_THAT(Told(), IsSupersetOf({Name(In("file")), Name(In("moved"))}));
  InAnotherProcess([&] { return rename(In("moved").c_str(), In("victim").c_str()) == 0; });
  EXPECT_THAT(Told(), IsSupersetOf({Name(In("moved")), Name(In("victim"))}));
  InAnotherProcess([&] { return rename(In("victim").c_str(), Out("left").c_str()) == 0; });
  std::vector<model::Change> told = Told();
  EXPECT_THAT(told, IsSupersetOf({Name(In("victim"))}));
  EXPECT_THAT(told, Not(::testing::Contains(Name(Out("left")))));
  InAnotherProcess([&] { return rename(Out("left").c_str(), In("back").c_str()) == 0; });
  told = Told();
  EXPECT_THAT(told, IsSupersetOf({Name(In("back"))}));
  EXPECT_THAT(told, Not(::testing::Contains(Name(Out("left")))));
}

TEST_P(Syscalls, Exchange) {
  Existing(In("one"));
  ASSERT_EQ(mkdir(In("two").c_str(), 0755), 0);
  StartWatching();
  InAnotherProcess([&] {
    return renameat2(AT_FDCWD, In("one").c_str(), AT_FDCWD, In("two").c_str(), RENAME_EXCHANGE) == 0;
  });
  EXPECT_THAT(Told(), IsSupersetOf({Name(In("one")), Name(In("two"))}));
}

TEST_P(Syscalls, MakeAndRemoveOtherNodes) {
  StartWatching();
  const std::function<bool(const char*)> makers[] = {
      [](const char* path) { return mkdir(path, 0755) == 0; },
      [](const char* path) { return symlink("nowhere", path) == 0; },
      [](const char* path) { return mkfifo(path, 0644) == 0; },
      [](const char* path) { return mknod(path, S_IFSOCK | 0644, 0) == 0; },
      [](const char* path) { return mknod(path, S_IFCHR | 0644, makedev(1, 3)) == 0; },
  };
  for (const auto& make : makers) {
    InAnotherProcess([&] { return make(In("node").c_str()); });
    EXPECT_THAT(Told(), IsSupersetOf({Name(In("node"))}));
    InAnotherProcess([&] { return remove(In("node").c_str()) == 0; });
    EXPECT_THAT(Told(), IsSupersetOf({Name(In("node"))}));
  }
}

TEST_P(Syscalls, TemporaryFileThatGetsAName) {
  StartWatching();
  int ready[2];
  int finish[2];
  ASSERT_EQ(pipe2(ready, O_CLOEXEC), 0);
  ASSERT_EQ(pipe2(finish, O_CLOEXEC), 0);
  const pid_t writer = StartProcess([&] {
    const int fd = open(outside_.c_str(), O_TMPFILE | O_RDWR, 0644);
    char byte = 0;
    return fd >= 0 && write(fd, "content", 7) == 7 &&
           linkat(fd, "", AT_FDCWD, In("linked").c_str(), AT_EMPTY_PATH) == 0 &&
           write(ready[1], "x", 1) == 1 && read(finish[0], &byte, 1) == 1 && write(fd, "more", 4) == 4;
  });
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  EXPECT_THAT(Told(), IsSupersetOf({Name(In("linked"))}));
  ASSERT_EQ(write(finish[1], "x", 1), 1);
  ExpectSuccess(writer);
  // The event names "#<inode>" of the directory outside.
  EXPECT_THAT(Told(), IsSupersetOf({Content(IdOf(In("linked")))}));
  for (const int fd : {ready[0], ready[1], finish[0], finish[1]}) close(fd);
}

TEST_P(Syscalls, ThroughABindMount) {
  const auto elsewhere = os::testing::ScopedDirectory::Create();
  ASSERT_TRUE(elsewhere.ok());
  const std::string& place = (*elsewhere)->path();
  ASSERT_EQ(mount((source_ + "/dir").c_str(), place.c_str(), nullptr, MS_BIND, nullptr), 0);
  StartWatching();
  InAnotherProcess([&] { return WriteFile(place + "/new", "content"); });
  EXPECT_THAT(Told(), IsSupersetOf({Name(In("new")), Content(IdOf(In("new")))}));
  EXPECT_EQ(umount2(place.c_str(), MNT_DETACH), 0);
}

TEST_P(Syscalls, NamesOfAnyBytes) {
  StartWatching();
  const std::string longest(255, 'n');
  for (const std::string& name : {std::string("a\nb"), std::string("\xff\xfe"), longest, std::string("#12"),
                                  std::string("#foo#"), std::string(".fanmirror")}) {
    InAnotherProcess([&] { return WriteFile(In(name), "content"); });
    EXPECT_THAT(Told(), IsSupersetOf({Name(In(name)), Content(IdOf(In(name)))})) << name;
  }
}

}  // namespace
}  // namespace fanmirror::watch
