#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <thread>

#include "link/link.h"
#include "link/link_test_support.h"
#include "link/testing/sshd.h"
#include "model/failure.h"

namespace fanmirror::link {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class LocalLinkTest : public ::testing::Test {
 protected:
  void SetUp() override { ::signal(SIGPIPE, SIG_IGN); }
  std::unique_ptr<Link> Start(const std::string& script) {
    auto link = StartLocal({"/bin/sh", "-c", script}, lines_.Sink());
    EXPECT_TRUE(link.ok()) << link.status();
    return link.ok() ? *std::move(link) : nullptr;
  }
  Lines lines_;
};

TEST_F(LocalLinkTest, EchoesEveryByte) {
  auto link = Start("exec cat");
  EXPECT_EQ(Echo(*link, kEchoBytes), absl::OkStatus());
}

TEST_F(LocalLinkTest, TellsExitStatusAndLastLineOfStderr) {
  auto link = Start("echo first >&2; echo the disk is gone >&2; echo output; exit 3");
  std::string received;
  const absl::Status status = ReadToEnd(*link, &received);
  EXPECT_EQ(received, "output\n");
  EXPECT_THAT(status.message(), AllOf(HasSubstr("ended with status 3"), HasSubstr("the disk is gone")));
  EXPECT_EQ(model::ReactionOf(status), model::Reaction::kReconnect);
  EXPECT_THAT(lines_.lines, ElementsAre("first", "the disk is gone"));
  EXPECT_FALSE(link->Write("x").ok());
}

TEST_F(LocalLinkTest, WriterLearnsOfTheEndToo) {
  auto link = Start("exec 0<&-; echo no more >&2; exit 5");
  const auto deadline = absl::Now() + kTestLimit;
  absl::Status status;
  while (status.ok() && absl::Now() < deadline) {
    status = link->Write(std::string(1 << 16, 'x')).status();
    if (status.ok()) status = link->Wait(true, -1, kTestLimit).status();
  }
  EXPECT_THAT(status.message(), AllOf(HasSubstr("ended with status 5"), HasSubstr("no more")));
}

TEST_F(LocalLinkTest, TellsTheSignal) {
  auto link = Start("kill -KILL $$");
  EXPECT_THAT(ReadToEnd(*link).message(), HasSubstr("killed by signal KILL"));
}

TEST_F(LocalLinkTest, OutputThatEndsBeforeTheProcessIsTold) {
  auto link = Start("exec >&-; exec sleep 100");
  const auto start = absl::Now();
  EXPECT_THAT(ReadToEnd(*link).message(), HasSubstr("closed its output"));
  EXPECT_LT(absl::Now() - start, absl::Seconds(30));
}

TEST_F(LocalLinkTest, MissingProgramIsAnErrorAtTheStart) {
  auto link = StartLocal({"/no/such/program"}, nullptr);
  EXPECT_THAT(link.status().message(), AllOf(HasSubstr("/no/such/program"), HasSubstr("No such file")));
}

TEST_F(LocalLinkTest, TakesNothingMoreWhenTheFarSideDoesNotRead) {
  auto link = Start("exec sleep 100");
  std::size_t total = 0;
  for (;;) {
    auto taken = link->Write(std::string(1 << 16, 'x'));
    ASSERT_TRUE(taken.ok()) << taken.status();
    if (*taken == 0) break;
    total += *taken;
    ASSERT_LE(total, std::size_t{1} << 21);
  }
  const auto start = absl::Now();
  ASSERT_TRUE(link->Wait(true, -1, absl::Milliseconds(50)).ok());
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(49));
}

TEST_F(LocalLinkTest, WakeupEndsAWait) {
  auto link = Start("exec cat");
  const os::UniqueFd wakeup(::eventfd(0, EFD_CLOEXEC));
  std::thread other([&] { ::eventfd_write(wakeup.get(), 1); });
  auto ready = link->Wait(false, wakeup.get(), kTestLimit);
  other.join();
  ASSERT_TRUE(ready.ok());
  EXPECT_TRUE(ready->wakeup);
}

TEST_F(LocalLinkTest, TheChildHasNoOtherDescriptorsAndDefaultSignals) {
  const int leak = ::open("/dev/null", O_RDONLY);  // without CLOEXEC
  auto first = Start("exec cat");
  auto link = Start("ls /proc/self/fd | tr '\\n' ' '; grep SigIgn /proc/self/status");
  std::string received;
  ReadToEnd(*link, &received).IgnoreError();
  ::close(leak);
  // 3 is the directory that ls reads.
  EXPECT_THAT(received, HasSubstr("0 1 2 3 SigIgn:"));
  const std::uint64_t ignored = std::stoull(received.substr(received.find(':') + 1), nullptr, 16);
  EXPECT_EQ(ignored & (std::uint64_t{1} << (SIGPIPE - 1)), 0u);
}

TEST_F(LocalLinkTest, TheDestructorEndsAndReapsAChildThatIgnoresEverything) {
  auto link = Start("trap '' TERM; printf %8d $$; while :; do sleep 1; done");
  const auto told = ReadBytes(*link, 8);
  ASSERT_TRUE(told.ok()) << told.status();
  const int pid = std::stoi(*told);
  link.reset();
  EXPECT_EQ(::kill(pid, 0), -1);
  EXPECT_EQ(errno, ESRCH);
}

TEST_F(LocalLinkTest, TheDestructorLetsAChildFinish) {
  const testing::TemporaryDirectory directory;
  const std::string file = directory.path() + "/done";
  auto link = Start("cat >/dev/null; sleep 0.2; echo yes >" + file);
  link.reset();
  EXPECT_EQ(testing::ReadFile(file), "yes\n");
}

}  // namespace
}  // namespace fanmirror::link
