#include "os/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "os/unique_fd.h"

namespace fanmirror::os {
namespace {

constexpr std::size_t kBlock = 16384;
constexpr std::size_t kBlocks = 256;

// What every ring promises, whichever the host allows.
class RingContract : public ::testing::TestWithParam<Ring::Kind> {
 protected:
  void SetUp() override {
    const char* directory = std::getenv("TEST_TMPDIR");
    std::string path = std::string(directory != nullptr ? directory : "/tmp") + "/fanmirror-ring-XXXXXX";
    file_.reset(::mkstemp(path.data()));
    ASSERT_TRUE(file_) << std::strerror(errno);
    ::unlink(path.c_str());
    content_.resize(kBlock * kBlocks);
    std::iota(content_.begin(), content_.end(), '\0');
    for (std::size_t block = 0; block < kBlocks; ++block) {
      content_[block * kBlock] = static_cast<char>(block);
    }
    ASSERT_EQ(::pwrite(file_.get(), content_.data(), content_.size(), 0),
              static_cast<ssize_t>(content_.size()));
    Evict();
    ring_ = Ring::Create(32, GetParam());
  }

  // Out of the page cache, so that reads have to wait for the disk.
  void Evict() {
    ASSERT_EQ(::fsync(file_.get()), 0);
    ASSERT_EQ(::posix_fadvise(file_.get(), 0, 0, POSIX_FADV_DONTNEED), 0);
    ASSERT_EQ(::posix_fadvise(file_.get(), 0, 0, POSIX_FADV_RANDOM), 0);
  }

  std::string Block(std::size_t block) const { return content_.substr(block * kBlock, kBlock); }

  UniqueFd file_;
  std::string content_;
  std::unique_ptr<Ring> ring_;
};

TEST_P(RingContract, NamesItsKind) {
  const std::string kind = ring_->kind();
  if (GetParam() == Ring::Kind::kThreads) {
    EXPECT_EQ(kind, "threads");
  } else {
    EXPECT_TRUE(kind == "io_uring" || kind == "threads");
  }
  EXPECT_EQ(ring_->capacity(), 32u);
}

TEST_P(RingContract, CompletesEveryReadOnceWithItsOwnBytes) {
  std::vector<std::string> buffers(ring_->capacity(), std::string(kBlock, '?'));
  std::vector<std::size_t> free(ring_->capacity());
  std::iota(free.begin(), free.end(), 0u);
  std::vector<std::size_t> block_in(ring_->capacity());
  std::set<std::size_t> left;
  for (std::size_t block = 0; block < kBlocks; ++block) left.insert(block);
  std::size_t next = 0;
  while (!left.empty()) {
    while (next < kBlocks && ring_->in_flight() < ring_->capacity()) {
      const std::size_t slot = free.back();
      free.pop_back();
      block_in[slot] = next;
      ring_->Submit({file_.get(), next * kBlock, absl::MakeSpan(buffers[slot].data(), kBlock), slot});
      ++next;
    }
    const Ring::Completion done = ring_->Wait();
    ASSERT_LT(done.token, ring_->capacity());
    ASSERT_EQ(done.result, static_cast<std::int64_t>(kBlock));
    const std::size_t block = block_in[done.token];
    ASSERT_EQ(left.erase(block), 1u) << "completed twice: " << block;
    ASSERT_TRUE(buffers[done.token] == Block(block)) << "other bytes in block " << block;
    free.push_back(done.token);
  }
  EXPECT_EQ(ring_->in_flight(), 0u);
}

TEST_P(RingContract, ReadsShortAtTheEndAndNothingBeyond) {
  std::string buffer(kBlock, '?');
  ring_->Submit({file_.get(), content_.size() - 10, absl::MakeSpan(buffer.data(), buffer.size()), 7});
  Ring::Completion done = ring_->Wait();
  EXPECT_EQ(done.token, 7u);
  EXPECT_EQ(done.result, 10);
  EXPECT_EQ(buffer.substr(0, 10), content_.substr(content_.size() - 10));
  EXPECT_EQ(buffer[10], '?');
  ring_->Submit({file_.get(), content_.size() + 5, absl::MakeSpan(buffer.data(), buffer.size()), 8});
  done = ring_->Wait();
  EXPECT_EQ(done.token, 8u);
  EXPECT_EQ(done.result, 0);
}

TEST_P(RingContract, GivesTheErrnoOfAFailedRead) {
  char buffer[8];
  ring_->Submit({-1, 0, absl::MakeSpan(buffer), 1});
  EXPECT_EQ(ring_->Wait().result, -EBADF);
  UniqueFd directory(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ring_->Submit({directory.get(), 0, absl::MakeSpan(buffer), 2});
  EXPECT_EQ(ring_->Wait().result, -EISDIR);
}

TEST_P(RingContract, DestructorWaitsForWhatIsInFlight) {
  std::vector<std::string> buffers(ring_->capacity(), std::string(kBlock, '?'));
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    ring_->Submit({file_.get(), i * 7 * kBlock, absl::MakeSpan(buffers[i].data(), kBlock), i});
  }
  EXPECT_EQ(ring_->in_flight(), ring_->capacity());
  ring_.reset();
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    EXPECT_TRUE(buffers[i] == Block(i * 7)) << "read " << i << " was not through";
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, RingContract, ::testing::Values(Ring::Kind::kBest, Ring::Kind::kThreads),
                         [](const auto& kind) {
                           return kind.param == Ring::Kind::kBest ? "best" : "threads";
                         });

// From now on, and in this process only, io_uring_setup(2) fails as it does where kernel.io_uring_disabled is
// set.
bool ForbidIoUring() {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{static_cast<unsigned short>(std::size(filter)), filter};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

TEST(RingDeathTest, UsesThreadsWhereIoUringIsForbidden) {
  EXPECT_EXIT(
      {
        const bool forbidden = ForbidIoUring();
        std::fprintf(stderr, "%d %s", forbidden ? 1 : 0, Ring::Create(4)->kind());
        std::_Exit(0);
      },
      ::testing::ExitedWithCode(0), "^1 threads$");
}

}  // namespace
}  // namespace fanmirror::os
