#include "os/clock.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <limits>

#include "gtest/gtest.h"

namespace fanmirror::os {
namespace {

TEST(Clock, GoesOn) {
  const std::int64_t monotonic = MonotonicNs();
  const std::int64_t boottime = BoottimeNs();
  while (MonotonicNs() == monotonic || BoottimeNs() == boottime) {
  }
  EXPECT_GT(MonotonicNs(), monotonic);
  EXPECT_GT(BoottimeNs(), boottime);
  EXPECT_GT(RealtimeNs(), 1'600'000'000'000'000'000);
}

TEST(Clock, RacyWithinTheWindowOnly) {
  const model::Timestamp ctime{1000, 999'999'999};
  const std::int64_t at = 1000 * 1'000'000'000LL + 999'999'999;
  EXPECT_TRUE(IsRacy(ctime, at, at));
  EXPECT_TRUE(IsRacy(ctime, at + kRacyWindowNs - 1, at + kRacyWindowNs - 1));
  EXPECT_FALSE(IsRacy(ctime, at + kRacyWindowNs, at + kRacyWindowNs));
  EXPECT_TRUE(IsRacy(ctime, at - kRacyWindowNs + 1, at - kRacyWindowNs + 1));
  EXPECT_FALSE(IsRacy(ctime, at - kRacyWindowNs, at - kRacyWindowNs));
  EXPECT_FALSE(IsRacy({std::numeric_limits<std::int64_t>::max(), 0}, at, at));
  EXPECT_FALSE(IsRacy({std::numeric_limits<std::int64_t>::min(), 0}, at, at));
  EXPECT_TRUE(IsRacy({-1, 999'999'999}, 0, 0));
  EXPECT_TRUE(IsRacy({-1, 999'999'999}, -500, -500));
}

// The thread was stopped for a second around the look: the file may have been stamped at any moment of it.
TEST(Clock, RacyWhereverInALongLook) {
  const std::int64_t second = 1'000'000'000;
  EXPECT_TRUE(IsRacy({1000, 500'000'000}, 1000 * second, 1001 * second));
  EXPECT_TRUE(IsRacy({1000, 0}, 1000 * second, 1001 * second));
  EXPECT_TRUE(IsRacy({1001, 0}, 1000 * second, 1001 * second));
  EXPECT_FALSE(IsRacy({999, 900'000'000}, 1000 * second, 1001 * second));
}

// The reason for the window: a file is stamped with a time that lies before the clock that its writer sees.
TEST(Clock, AFreshFileIsRacy) {
  char path[] = "/tmp/fanmirror-clock-XXXXXX";
  const int fd = ::mkstemp(path);
  ASSERT_GE(fd, 0);
  struct stat status {};
  const std::int64_t before = RealtimeNs();
  ASSERT_EQ(::fstat(fd, &status), 0);
  const std::int64_t now = RealtimeNs();
  ::unlink(path);
  ::close(fd);
  // A machine that stopped between the two calls proves nothing.
  const model::Timestamp ctime{status.st_ctim.tv_sec, static_cast<std::uint32_t>(status.st_ctim.tv_nsec)};
  const std::int64_t age = now - ctime.seconds * 1'000'000'000 - ctime.nanoseconds;
  EXPECT_TRUE(age >= kRacyWindowNs || IsRacy(ctime, before, now));
  EXPECT_FALSE(IsRacy(ctime, now + 1'000'000'000, now + 1'000'000'000));
}

}  // namespace
}  // namespace fanmirror::os
