// Others are at work in the target while a receiver is: they swap directories with symlinks that lead out, and move
// directories out and back, at full speed. Nothing outside is ever made, changed or removed.
#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "apply/testing/scripted_source.h"
#include "os/testing/filesystem.h"
#include "os/unique_fd.h"

namespace fanmirror::apply {
namespace {

using model::Op;
using testing::ScriptedSource;

constexpr int kDirectories = 8;
constexpr int kFiles = 8;
constexpr int kBatches = 30;
constexpr int kOpsOfABatch = 200;

// All that is known of a tree, by path. With the ctime: what was changed and changed back differs, too.
std::map<std::string, std::string> Snapshot(const std::string& root) {
  std::map<std::string, std::string> all;
  const auto add = [&all](const std::filesystem::path& path) {
    struct stat st {};
    ASSERT_EQ(lstat(path.c_str(), &st), 0) << path;
    std::ostringstream content;
    if (S_ISREG(st.st_mode)) content << std::ifstream(path).rdbuf();
    all[path] = absl::StrCat(st.st_ino, " ", st.st_mode, " ", st.st_uid, " ", st.st_nlink, " ", st.st_size, " ",
                             st.st_ctim.tv_sec, ".", st.st_ctim.tv_nsec, " ", content.str());
  };
  add(root);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) add(entry.path());
  return all;
}

// A process that does something again and again until it is ended; it exits by itself, with 1, when it found a fault.
class Attacker {
 public:
  explicit Attacker(const std::function<bool()>& strike) : pid_(fork()) {
    if (pid_ != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (strike()) {
    }
    _exit(1);
  }
  // Whether it found no fault.
  bool End() {
    kill(pid_, SIGTERM);
    int status = 0;
    return waitpid(pid_, &status, 0) == pid_ && WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM;
  }

 private:
  pid_t pid_;
};

bool Exchange(const std::string& one, const std::string& other) {
  return renameat2(AT_FDCWD, one.c_str(), AT_FDCWD, other.c_str(), RENAME_EXCHANGE) == 0;
}

// Names and inodes of a directory.
std::map<std::string, ino_t> Entries(const os::UniqueFd& fd) {
  std::map<std::string, ino_t> entries;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(fdopendir(openat(fd.get(), ".", O_RDONLY | O_DIRECTORY)), closedir);
  while (const dirent* entry = dir ? readdir(dir.get()) : nullptr) entries[entry->d_name] = entry->d_ino;
  return entries;
}

class Race : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    for (const std::string& dir : {root_, outside_, attic_, moved_}) ASSERT_EQ(mkdir(dir.c_str(), 0755), 0);
    // What the symlinks lead to has the names of the target's: what follows one finds something to spoil.
    for (int d = 0; d < kDirectories; ++d) {
      const std::string dir = absl::StrCat(outside_, "/d", d);
      ASSERT_EQ(mkdir(dir.c_str(), 0755), 0);
      for (int f = 0; f < kFiles; ++f) std::ofstream(absl::StrCat(dir, "/f", f)) << "theirs";
      ASSERT_EQ(symlink(dir.c_str(), absl::StrCat(attic_, "/d", d).c_str()), 0);
    }
    for (const char* name : {"staging", "limbo"}) {
      ASSERT_EQ(mkdir(absl::StrCat(outside_, "/", name).c_str(), 0755), 0);
      for (int f = 1; f < 100; ++f) std::ofstream(absl::StrCat(outside_, "/", name, "/", f)) << "theirs";
      ASSERT_EQ(symlink(absl::StrCat(outside_, "/", name).c_str(), absl::StrCat(attic_, "/", name).c_str()), 0);
    }
  }

  // Swaps a directory with the symlink of its name, and back.
  bool Swap(int d) {
    const std::string here = absl::StrCat(root_, "/d", d), there = absl::StrCat(attic_, "/d", d);
    if (Exchange(here, there)) sched_yield();
    Exchange(here, there);
    return true;
  }

  // Moves a directory out, sees whether anybody adds to it or takes from it there, and moves it back.
  bool MoveOut(int d) {
    const std::string here = absl::StrCat(root_, "/d", d), there = absl::StrCat(moved_, "/d", d);
    if (rename(here.c_str(), there.c_str()) != 0) return true;
    const os::UniqueFd fd(open(there.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (fd) {
      const auto before = Entries(fd);
      for (int i = 0; i < 5; ++i) sched_yield();
      if (Entries(fd) != before) return false;
    }
    if (rename(there.c_str(), here.c_str()) != 0 && Exchange(there, here)) std::filesystem::remove_all(there);
    return true;
  }

  bool SwapHome(const char* name) {
    const std::string here = absl::StrCat(root_, "/.fanmirror/", name), there = absl::StrCat(attic_, "/", name);
    if (Exchange(here, there)) sched_yield();
    Exchange(here, there);
    return true;
  }

  // Puts a symlink that leads out in the place of what is being made.
  bool SwapStaged() {
    const std::string staging = root_ + "/.fanmirror/staging", link = attic_ + "/staged";
    const os::UniqueFd fd(open(staging.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) return true;
    for (const auto& [name, inode] : Entries(fd)) {
      if (name == "." || name == "..") continue;
      if (symlink(absl::StrCat(outside_, "/d0/f0").c_str(), link.c_str()) != 0 && errno != EEXIST) return true;
      renameat2(AT_FDCWD, link.c_str(), fd.get(), name.c_str(), RENAME_EXCHANGE);
      std::filesystem::remove(link);
    }
    return true;
  }

  void OneOp(ScriptedSource* source, std::mt19937* random) {
    const auto pick = [&](int n) { return static_cast<int>((*random)() % static_cast<unsigned>(n)); };
    const auto file = [&] { return absl::StrCat("d", pick(kDirectories), "/f", pick(kFiles)); };
    const std::string path = file(), other = file();
    model::Metadata metadata;
    metadata.type = model::NodeType::kRegular;
    metadata.mode = static_cast<std::uint32_t>(pick(010000));
    switch (1 + pick(7)) {
      case 1:
        metadata.type = model::NodeType::kFifo;
        source->Make(path, metadata);
        break;
      case 2:
        source->SetMetadata(path, metadata, {{"user.x", "1"}});
        break;
      case 3:
        source->Change(Op::Kind::kRemove, path);
        break;
      case 4:
        if (path != other) source->Change(pick(2) == 0 ? Op::Kind::kRename : Op::Kind::kExchange, path, other);
        break;
      case 5:
        if (path != other) source->Change(Op::Kind::kLink, path, other);
        break;
      default:
        source->Put(path, "ours", metadata);
        break;
    }
  }

  std::unique_ptr<os::testing::ScopedDirectory> scratch_ = *os::testing::ScopedDirectory::Create();
  std::string root_ = scratch_->path() + "/root";
  std::string outside_ = scratch_->path() + "/outside";
  std::string attic_ = scratch_->path() + "/attic";
  std::string moved_ = scratch_->path() + "/moved";
};

// Without Landlock nothing but the look-ups protects: that they do is shown by symlinks alone, for a directory that was
// opened and then moved out is written to.
void NoLandlock() {
  const scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
  if (seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(landlock_create_ruleset), 0) != 0) _exit(99);
  if (seccomp_load(filter) != 0) _exit(99);
  seccomp_release(filter);
}

TEST_P(Race, NothingOutsideIsTouched) {
  const bool landlock = GetParam();
  if (landlock && syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION) < 2) {
    GTEST_SKIP() << "this kernel has no Landlock";
  }
  const auto before = Snapshot(outside_);
  ScriptedSource source(root_, landlock ? std::function<void()>() : NoLandlock);
  ASSERT_TRUE(source.Greet().has_value());
  source.Begin(1);
  for (int d = 0; d < kDirectories; ++d) source.Directory(absl::StrCat("d", d));
  ASSERT_TRUE(source.EndAndWait().failures.empty());

  std::vector<Attacker> attackers;
  const auto attack = [&](const std::function<bool(unsigned)>& strike) {
    attackers.emplace_back([&strike, random = std::mt19937(7)]() mutable { return strike(static_cast<unsigned>(random())); });
  };
  attack([&](unsigned random) { return Swap(static_cast<int>(random % kDirectories)); });
  attack([&](unsigned random) { return SwapHome(random % 2 == 0 ? "staging" : "limbo") && SwapStaged(); });
  if (landlock) attack([&](unsigned random) { return MoveOut(static_cast<int>(random % kDirectories)); });

  std::mt19937 random(1);
  std::uint64_t settled = 1;
  std::size_t applied = 0;
  for (int batch = 2; batch < kBatches + 2; ++batch) {
    source.Begin(static_cast<std::uint64_t>(batch), settled);
    for (int op = 0; op < kOpsOfABatch; ++op) OneOp(&source, &random);
    const wire::Ack ack = source.EndAndWait();
    ASSERT_FALSE(HasFailure());
    ASSERT_LE(ack.failures.size(), std::size_t{kOpsOfABatch});
    applied += kOpsOfABatch - ack.failures.size();
    settled = ack.number;
    for (int d = 0; d < kDirectories; ++d) source.List(absl::StrCat("d", d), /*children=*/true);
  }
  for (Attacker& attacker : attackers) EXPECT_TRUE(attacker.End()) << "something was done in a directory that was outside";
  EXPECT_EQ(source.Close(), 0) << source.Complaint();
  EXPECT_GT(applied, std::size_t{kOpsOfABatch});  // else nothing was tried
  EXPECT_EQ(Snapshot(outside_), before);
}

INSTANTIATE_TEST_SUITE_P(On, Race, ::testing::Values(true, false),
                         [](const auto& instance) { return instance.param ? "Landlock" : "LookUpsAlone"; });

}  // namespace
}  // namespace fanmirror::apply
