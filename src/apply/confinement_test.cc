#include "apply/confinement.h"

#include <cap-ng.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "apply/root.h"
#include "apply/testing/scripted_source.h"
#include "os/testing/filesystem.h"

namespace fanmirror::apply {
namespace {

constexpr uid_t kNobody = 65534;

bool KernelHasLandlock() {
  return syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION) >= 2;
}

// Makes a system call unknown to the kernel, for this process and its children.
void Unknown(int call) {
  const scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
  if (seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), call, 0) != 0 || seccomp_load(filter) != 0) _exit(99);
  seccomp_release(filter);
}

// What a call came to: "ok", or the name of the errno.
std::string Outcome(long result) { return result >= 0 ? "ok" : strerrorname_np(errno); }

// In this order: the elements of braces are evaluated from left to right.
std::string InOrder(const std::vector<std::string>& outcomes) { return absl::StrJoin(outcomes, " "); }

class Confinement : public ::testing::Test {
 protected:
  Confinement() {
    outside_ = scratch_->path() + "/outside";
    root_ = scratch_->path() + "/root";
    for (const std::string& path : {outside_, root_, root_ + "/a", root_ + "/b"}) {
      EXPECT_EQ(mkdir(path.c_str(), 0777), 0);
      EXPECT_EQ(chmod(path.c_str(), 0777), 0);
    }
    std::ofstream(outside_ + "/file") << "theirs";
    std::ofstream(root_ + "/a/file") << "ours";
    EXPECT_EQ(chmod((outside_ + "/file").c_str(), 0666), 0);
    EXPECT_EQ(chmod((root_ + "/a/file").c_str(), 0666), 0);
  }

  // Confines a child process to the root and gives what `tries` wrote there.
  std::string Confined(const std::function<std::string()>& tries, const std::function<void()>& before = {}) {
    int ends[2];
    EXPECT_EQ(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) {
      if (before) before();
      const auto root = Root::Open(root_);
      const auto missing = root.ok() ? Confine((*root)->fd()) : root.status();
      const std::string told = missing.ok() ? *missing + tries() : std::string(missing.status().message());
      static_cast<void>(!write(ends[1], told.data(), told.size()));
      _exit(0);
    }
    close(ends[1]);
    std::string told;
    char buffer[4096];
    for (ssize_t size; (size = read(ends[0], buffer, sizeof buffer)) > 0;)
      told.append(buffer, static_cast<std::size_t>(size));
    close(ends[0]);
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    return told;
  }

  std::string OpenOutside(int flags) { return Outcome(open((outside_ + "/file").c_str(), flags | O_CLOEXEC, 0600)); }

  std::unique_ptr<os::testing::ScopedDirectory> scratch_ = *os::testing::ScopedDirectory::Create();
  std::string outside_;
  std::string root_;
};

TEST_F(Confinement, NothingOutsideCanBeOpenedMadeOrRemoved) {
  if (!KernelHasLandlock()) GTEST_SKIP() << "this kernel has no Landlock";
  const std::string told = Confined([&] {
    return InOrder({OpenOutside(O_RDONLY), OpenOutside(O_WRONLY), OpenOutside(O_WRONLY | O_TRUNC),
                    Outcome(open("/etc/passwd", O_RDONLY)), Outcome(open("/proc/self/status", O_RDONLY)),
                    Outcome(truncate((outside_ + "/file").c_str(), 0)),
                    Outcome(mkdir((outside_ + "/new").c_str(), 0700)), Outcome(unlink((outside_ + "/file").c_str())),
                    Outcome(link((outside_ + "/file").c_str(), (root_ + "/linked").c_str())),
                    Outcome(rename((root_ + "/a/file").c_str(), (outside_ + "/moved").c_str())),
                    Outcome(open((root_ + "/../outside/file").c_str(), O_RDONLY))});
  });
  EXPECT_EQ(told, "EACCES EACCES EACCES EACCES EACCES EACCES EACCES EACCES EXDEV EACCES EACCES");
}

TEST_F(Confinement, BelowTheRootEverythingGoesOn) {
  const std::string told = Confined([&] {
    const std::string file = root_ + "/a/file";
    return InOrder(
        {Outcome(open(file.c_str(), O_RDWR | O_TRUNC)), Outcome(rename(file.c_str(), (root_ + "/b/file").c_str())),
         Outcome(link((root_ + "/b/file").c_str(), (root_ + "/a/again").c_str())),
         Outcome(renameat2(AT_FDCWD, (root_ + "/a").c_str(), AT_FDCWD, (root_ + "/b").c_str(), RENAME_EXCHANGE)),
         Outcome(symlink("/etc/passwd", (root_ + "/s").c_str())),
         Outcome(mknod((root_ + "/f").c_str(), S_IFIFO | 0600, 0)),
         Outcome(open((root_ + "/new").c_str(), O_WRONLY | O_CREAT, 0600)),
         Outcome(chmod((root_ + "/new").c_str(), 04755)), Outcome(open((root_ + "/a").c_str(), O_RDONLY | O_DIRECTORY)),
         Outcome(unlink((root_ + "/s").c_str())), Outcome(rmdir((root_ + "/none").c_str()))});
  });
  EXPECT_EQ(told, "ok ok ok ok ok ok ok ok ok ok ENOENT");
}

TEST_F(Confinement, RootKeepsWhatTheOpsNeedAndLosesTheRest) {
  if (!os::testing::IsRoot()) GTEST_SKIP() << "needs root";
  const std::string told = Confined([&] {
    const std::string file = root_ + "/a/file";
    std::string out =
        InOrder({Outcome(chown(file.c_str(), kNobody, kNobody)), Outcome(chmod(file.c_str(), 0)),
                 Outcome(open(file.c_str(), O_WRONLY)), Outcome(setxattr(file.c_str(), "trusted.x", "1", 1, 0)),
                 Outcome(mknod((root_ + "/null").c_str(), S_IFCHR | 0600, makedev(1, 3)))});
    capng_get_caps_process();
    for (const unsigned lost : {CAP_DAC_READ_SEARCH, CAP_SYS_MODULE, CAP_SYS_PTRACE, CAP_KILL, CAP_SETUID, CAP_SETPCAP,
                                CAP_LINUX_IMMUTABLE, CAP_SYS_RAWIO, CAP_NET_ADMIN}) {
      for (const capng_type_t set : {CAPNG_EFFECTIVE, CAPNG_PERMITTED, CAPNG_BOUNDING_SET}) {
        if (capng_have_capability(set, lost)) absl::StrAppend(&out, " has ", capng_capability_to_name(lost));
      }
    }
    return absl::StrCat(out, " ", Outcome(static_cast<int>(syscall(SYS_setuid, kNobody))));
  });
  EXPECT_EQ(told, "ok ok ok ok ok EPERM");
}

TEST_F(Confinement, NoProgramNoSocketNoMount) {
  const std::string told = Confined([&] {
    return InOrder({Outcome(execl("/bin/true", "true", nullptr)), Outcome(socket(AF_UNIX, SOCK_STREAM, 0)),
                    Outcome(socket(AF_INET, SOCK_DGRAM, 0)),
                    Outcome(syscall(SYS_mount, "x", "/mnt", "tmpfs", 0, nullptr)), Outcome(syscall(SYS_unshare, 0))});
  });
  EXPECT_EQ(told, "EPERM EPERM EPERM EPERM EPERM");
}

TEST_F(Confinement, WithoutRootItWorksWithWhatThereIs) {
  if (!os::testing::IsRoot()) GTEST_SKIP() << "needs root to become another";
  ASSERT_EQ(chmod(scratch_->path().c_str(), 0755), 0);
  const std::string told = Confined(
      [&] {
        return InOrder({Outcome(open((root_ + "/new").c_str(), O_WRONLY | O_CREAT, 0600)),
                        Outcome(rename((root_ + "/new").c_str(), (root_ + "/a/new").c_str())),
                        Outcome(chown((root_ + "/a/new").c_str(), 0, 0)),
                        KernelHasLandlock() ? OpenOutside(O_RDONLY) : "EACCES"});
      },
      [] {
        if (setgid(kNobody) != 0 || setuid(kNobody) != 0) _exit(98);
      });
  EXPECT_EQ(told, "ok ok EPERM EACCES");
}

TEST_F(Confinement, WithoutLandlockItGoesOnAndSaysSo) {
  const std::string told = Confined(
      [&] {
        return ": " + InOrder({Outcome(socket(AF_UNIX, SOCK_STREAM, 0)), OpenOutside(O_RDONLY)});
      },
      [] { Unknown(SCMP_SYS(landlock_create_ruleset)); });
  EXPECT_EQ(
      told,
      "this kernel has no Landlock of version 2 (Linux 5.19); the receiver is confined to its root by its own look-ups "
      "only: EPERM ok");
}

TEST_F(Confinement, AKernelThatFailsToConfineIsNotServed) {
  if (!KernelHasLandlock()) GTEST_SKIP() << "this kernel has no Landlock";
  testing::ScriptedSource source(root_, [] { Unknown(SCMP_SYS(landlock_restrict_self)); });
  const auto reply = source.Greet();
  ASSERT_TRUE(reply.has_value());
  EXPECT_TRUE(absl::StrContains(reply->refusal, "landlock_restrict_self")) << reply->refusal;
  EXPECT_NE(access((root_ + "/.fanmirror").c_str(), F_OK), 0);
}

TEST_F(Confinement, TheRootIsResolvedOnce) {
  const std::string by_link = scratch_->path() + "/link";
  ASSERT_EQ(symlink(root_.c_str(), by_link.c_str()), 0);
  const auto root = Root::Open(by_link);
  ASSERT_TRUE(root.ok());
  ASSERT_EQ(unlink(by_link.c_str()), 0);
  ASSERT_EQ(symlink(outside_.c_str(), by_link.c_str()), 0);
  EXPECT_EQ((*root)->path(), root_);
  EXPECT_TRUE((*root)->OpenNode("a/file", O_RDONLY).ok());
  EXPECT_FALSE((*root)->OpenNode("file", O_PATH).ok());
}

}  // namespace
}  // namespace fanmirror::apply
