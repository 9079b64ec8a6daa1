#include "daemon/state_lock.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "os/testing/filesystem.h"

namespace fanmirror::daemon {
namespace {

using ::testing::HasSubstr;

class StateLockTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto directory = os::testing::ScopedDirectory::Create();
    ASSERT_TRUE(directory.ok()) << directory.status();
    directory_ = *std::move(directory);
    state_dir_ = directory_->path() + "/lib/fanmirror";
  }
  std::unique_ptr<os::testing::ScopedDirectory> directory_;
  std::string state_dir_;
};

TEST_F(StateLockTest, MakesTheDirectoryForItsOwnerOnly) {
  const auto lock = StateLock::Take(state_dir_);
  ASSERT_TRUE(lock.ok()) << lock.status();
  struct stat status {};
  ASSERT_EQ(::stat(state_dir_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0700u);
}

TEST_F(StateLockTest, RefusesASecondHolderAndNamesTheFirst) {
  auto first = StateLock::Take(state_dir_);
  ASSERT_TRUE(first.ok()) << first.status();
  const auto second = StateLock::Take(state_dir_);
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(std::string(second.status().message()),
              HasSubstr(absl::StrCat("in use by process ", ::getpid())));
}

// Whoever can write there can plant a symlink that we would follow.
TEST_F(StateLockTest, RefusesADirectoryThatOthersCanWrite) {
  ASSERT_TRUE(StateLock::Take(state_dir_).ok());
  for (const mode_t mode : {0770, 0707, 01777}) {
    ASSERT_EQ(::chmod(state_dir_.c_str(), mode), 0);
    const auto lock = StateLock::Take(state_dir_);
    ASSERT_FALSE(lock.ok());
    EXPECT_THAT(std::string(lock.status().message()), HasSubstr("can be written by others; chown it to user"));
  }
  ASSERT_EQ(::chmod(state_dir_.c_str(), 0755), 0);
  EXPECT_TRUE(StateLock::Take(state_dir_).ok());
  if (::geteuid() != 0) return;
  ASSERT_EQ(::chown(state_dir_.c_str(), 65534, 65534), 0);
  EXPECT_FALSE(StateLock::Take(state_dir_).ok());
}

TEST_F(StateLockTest, IsFreeOnceItsHolderDied) {
  const pid_t child = ::fork();
  if (child == 0) {
    const auto lock = StateLock::Take(state_dir_);
    ::_exit(lock.ok() ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  const auto lock = StateLock::Take(state_dir_);
  EXPECT_TRUE(lock.ok()) << lock.status();
}

}  // namespace
}  // namespace fanmirror::daemon
