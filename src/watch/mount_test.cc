#include "watch/mount.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/failure.h"
#include "os/testing/filesystem.h"
#include "watch/filesystem_types.h"

namespace fanmirror::watch {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string BlkidUuid(const std::string& device) {
  FILE* out = popen(absl::StrCat("blkid -p -s UUID -o value ", device).c_str(), "r");
  char line[200] = {};
  if (out == nullptr || fgets(line, sizeof(line), out) == nullptr) return {};
  pclose(out);
  return std::string(absl::StripSuffix(line, "\n"));
}

void ExpectRefused(const std::string& path, const std::string& reason) {
  const auto mount = ResolveMount(path);
  ASSERT_FALSE(mount.ok()) << path;
  EXPECT_EQ(model::ReactionOf(mount.status()), model::Reaction::kHaltJob);
  const std::string message(mount.status().message());
  EXPECT_THAT(message, HasSubstr(path));
  EXPECT_THAT(message, HasSubstr(reason));
  EXPECT_THAT(message, Not(HasSubstr("\n")));
}

TEST(FilesystemTypes, AreRefusedByName) {
  for (const char* type :
       {"nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "fuse", "fuse.sshfs", "fuseblk", "proc", "sysfs",
        "devtmpfs", "cgroup", "cgroup2", "vfat", "exfat", "ntfs3", "virtiofs"}) {
    const Refusal* refusal = FindRefusal(type);
    ASSERT_NE(refusal, nullptr) << type;
    EXPECT_FALSE(refusal->reason.empty()) << type;
    EXPECT_FALSE(refusal->cure.empty()) << type;
  }
  for (const char* type : {"ext4", "ext3", "xfs", "btrfs", "tmpfs", "f2fs", "zfs", "bcachefs", "overlay",
                           "squashfs", "iso9660", "nfsomething", ""}) {
    EXPECT_EQ(FindRefusal(type), nullptr) << type;
  }
}

TEST(ResolveMount, RefusesWhatCannotBeWatched) {
  ExpectRefused("/proc", "on proc");
  ExpectRefused("/sys", "on sysfs");
  ExpectRefused("/no/such/directory", "No such file");
  ExpectRefused("/etc/passwd", "Not a directory");
}

class MountTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!os::testing::IsRoot()) GTEST_SKIP() << "mount needs root";
    auto filesystem = os::testing::ScopedFilesystem::Create("ext4", 64U << 20);
    ASSERT_TRUE(filesystem.ok()) << filesystem.status();
    filesystem_ = *std::move(filesystem);
    inner_ = filesystem_->path() + "/inner";
    ASSERT_EQ(mkdir(inner_.c_str(), 0755), 0);
  }
  std::unique_ptr<os::testing::ScopedFilesystem> filesystem_;
  std::string inner_;
};

TEST_F(MountTest, IsDescribed) {
  const auto mount = ResolveMount(inner_);
  ASSERT_TRUE(mount.ok()) << mount.status();
  EXPECT_EQ(mount->target, filesystem_->path());
  EXPECT_EQ(mount->type, "ext4");
  EXPECT_EQ(mount->root, "/");
  EXPECT_THAT(mount->source, HasSubstr("/dev/loop"));
  EXPECT_THAT(mount->options, HasSubstr("rw"));
  struct stat found {};
  ASSERT_EQ(stat(inner_.c_str(), &found), 0);
  EXPECT_EQ(mount->device, found.st_dev);
  const std::string uuid = BlkidUuid(filesystem_->image());
  ASSERT_FALSE(uuid.empty());
  EXPECT_EQ(mount->filesystem, uuid);
}

TEST_F(MountTest, KeepsItsNameOverARemount) {
  for (const char* type : {"xfs", "btrfs"}) {
    const auto filesystem = os::testing::ScopedFilesystem::Create(type);
    ASSERT_TRUE(filesystem.ok()) << filesystem.status();
    const auto before = ResolveMount((*filesystem)->path());
    ASSERT_TRUE(before.ok()) << before.status();
    EXPECT_EQ(before->filesystem, BlkidUuid((*filesystem)->image()));
    ASSERT_TRUE((*filesystem)->Unmount().ok());
    EXPECT_FALSE(*IsStillMounted(*before));
    ASSERT_TRUE((*filesystem)->Mount().ok());
    const auto after = ResolveMount((*filesystem)->path());
    ASSERT_TRUE(after.ok()) << after.status();
    EXPECT_EQ(after->filesystem, before->filesystem);
  }
}

TEST_F(MountTest, TheTopmostOfSeveralAtOnePlaceIsMeant) {
  const auto below = ResolveMount(inner_);
  ASSERT_EQ(mount("top", inner_.c_str(), "tmpfs", 0, nullptr), 0);
  const auto first = ResolveMount(inner_);
  ASSERT_EQ(mount("topper", inner_.c_str(), "tmpfs", 0, nullptr), 0);
  const auto second = ResolveMount(inner_);
  ASSERT_TRUE(below.ok() && first.ok() && second.ok());
  EXPECT_EQ(first->source, "top");
  EXPECT_EQ(first->target, inner_);
  EXPECT_EQ(second->source, "topper");
  EXPECT_EQ(second->filesystem.rfind("tmpfs:", 0), 0U) << second->filesystem;
  EXPECT_NE(first->filesystem, second->filesystem);
  EXPECT_TRUE(*IsStillMounted(*below));
  EXPECT_TRUE(*IsStillMounted(*first));
  ASSERT_EQ(umount(inner_.c_str()), 0);
  EXPECT_TRUE(*IsStillMounted(*first));
  EXPECT_FALSE(*IsStillMounted(*second));
  ASSERT_EQ(umount(inner_.c_str()), 0);
  EXPECT_FALSE(*IsStillMounted(*first));
}

TEST_F(MountTest, ABindMountIsAMountOfTheSameFilesystem) {
  const std::string place = filesystem_->path() + "/place";
  ASSERT_EQ(mkdir(place.c_str(), 0755), 0);
  ASSERT_EQ(mount(inner_.c_str(), place.c_str(), nullptr, MS_BIND, nullptr), 0);
  const auto bind = ResolveMount(place);
  const auto whole = ResolveMount(inner_);
  ASSERT_TRUE(bind.ok() && whole.ok());
  EXPECT_EQ(bind->root, "/inner");
  EXPECT_EQ(bind->target, place);
  EXPECT_EQ(bind->filesystem, whole->filesystem);
  EXPECT_NE(bind->id, whole->id);
  ASSERT_EQ(umount(place.c_str()), 0);
}

TEST_F(MountTest, AnOverlayIsRefusedUnlessItHasHandles) {
  const std::string root = filesystem_->path();
  for (const char* dir : {"/lower", "/upper", "/work", "/merged"})
    ASSERT_EQ(mkdir((root + dir).c_str(), 0755), 0);
  const std::string dirs =
      absl::StrCat("lowerdir=", root, "/lower,upperdir=", root, "/upper,workdir=", root, "/work");
  const std::string merged = root + "/merged";
  if (mount("overlay", merged.c_str(), "overlay", 0, (dirs + ",index=off,nfs_export=off").c_str()) != 0) {
    GTEST_SKIP() << "this kernel has no overlayfs";
  }
  ExpectRefused(merged, "nfs_export=on");
  ASSERT_EQ(umount(merged.c_str()), 0);
  ASSERT_EQ(mount("overlay", merged.c_str(), "overlay", 0, (dirs + ",index=on,nfs_export=on").c_str()), 0);
  const auto exported = ResolveMount(merged);
  EXPECT_TRUE(exported.ok()) << exported.status();
  ASSERT_EQ(umount(merged.c_str()), 0);
}

TEST_F(MountTest, TheMonitorTellsOfMountAndUnmount) {
  const auto opened = MountMonitor::Open();
  ASSERT_TRUE(opened.ok()) << opened.status();
  MountMonitor& monitor = **opened;
  // Other tests mount as well, so only that a change of ours is told can be expected.
  for (int round = 0; round < 3; ++round) {
    ASSERT_EQ(mount("top", inner_.c_str(), "tmpfs", 0, nullptr), 0);
    EXPECT_TRUE(*monitor.Wait(absl::Seconds(20)));
    const auto mounted = ResolveMount(inner_);
    ASSERT_TRUE(mounted.ok());
    ASSERT_EQ(umount(inner_.c_str()), 0);
    EXPECT_TRUE(*monitor.Wait(absl::Seconds(20)));
    EXPECT_FALSE(*IsStillMounted(*mounted));
  }
}

TEST_F(MountTest, TheMonitorCanBeWoken) {
  const auto monitor = MountMonitor::Open();
  ASSERT_TRUE(monitor.ok()) << monitor.status();
  (*monitor)->Wake();
  while (*(*monitor)->Wait(absl::InfiniteDuration())) {  // somebody else's mounts
  }
  std::thread waker([&] { (*monitor)->Wake(); });
  while (*(*monitor)->Wait(absl::InfiniteDuration())) {
  }
  waker.join();
}

TEST(CheckHost, AcceptsThisHostAsRoot) {
  if (!os::testing::IsRoot()) GTEST_SKIP() << "needs root";
  const absl::Status checked = CheckHost();
  EXPECT_TRUE(checked.ok()) << checked;
}

TEST(CheckHost, RefusesOthersInOneLine) {
  if (!os::testing::IsRoot()) GTEST_SKIP() << "needs root to become another";
  EXPECT_EXIT(
      {
        if (setgid(65534) != 0 || setuid(65534) != 0) _exit(2);
        const absl::Status checked = CheckHost();
        const bool right = !checked.ok() && model::ReactionOf(checked) == model::Reaction::kHaltJob &&
                           checked.message().find("as root") != absl::string_view::npos &&
                           checked.message().find('\n') == absl::string_view::npos;
        _exit(right ? 0 : 1);
      },
      ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace fanmirror::watch
