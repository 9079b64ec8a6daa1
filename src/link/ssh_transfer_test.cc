// Bytes, stderr and the end of commands, through a real sshd.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
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
using testing::Sshd;

class SshTransferTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    std::signal(SIGPIPE, SIG_IGN);
    auto started = Sshd::Start();
    if (started.ok()) {
      server_ = started->release();
    } else {
      reason_ = new std::string(started.status().message());
    }
  }
  static void TearDownTestSuite() {
    delete server_;
    delete reason_;
    server_ = nullptr;
    reason_ = nullptr;
  }
  void SetUp() override { ASSERT_NE(server_, nullptr) << *reason_; }

  std::unique_ptr<Link> Connect(const std::string& command) {
    auto link = ConnectSsh(server_->OptionsFor(command), lines_.Sink());
    EXPECT_TRUE(link.ok()) << link.status() << "\n" << server_->log();
    return link.ok() ? *std::move(link) : nullptr;
  }

  static Sshd* server_;
  static std::string* reason_;
  Lines lines_;
};

Sshd* SshTransferTest::server_ = nullptr;
std::string* SshTransferTest::reason_ = nullptr;

long ResidentBytes() {
  std::ifstream in("/proc/self/statm");
  long total = 0;
  long resident = 0;
  in >> total >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

TEST_F(SshTransferTest, EchoesEveryByte) {
  auto link = Connect("cat");
  ASSERT_NE(link, nullptr);
  EXPECT_EQ(Echo(*link, kEchoBytes), absl::OkStatus());
}

TEST_F(SshTransferTest, TakesNothingMoreWhenTheFarSideDoesNotRead) {
  auto link = Connect("sleep 100");
  ASSERT_NE(link, nullptr);
  const std::string data(1 << 20, 'x');
  const long before = ResidentBytes();
  std::size_t total = 0;
  // Until it takes nothing for a while: then the far side's window, sshd's pipe and the sockets are full.
  for (int idle = 0; idle < 3;) {
    auto taken = link->Write(data);
    ASSERT_TRUE(taken.ok()) << taken.status();
    total += *taken;
    idle = *taken == 0 ? idle + 1 : 0;
    const auto start = absl::Now();
    ASSERT_TRUE(link->Wait(true, -1, absl::Milliseconds(100)).ok());
    if (*taken == 0) {
      EXPECT_GE(absl::Now() - start, absl::Milliseconds(99)) << "Wait spins";
    }
    ASSERT_LT(total, std::size_t{64} << 20) << "no bound";
  }
  EXPECT_GT(total, std::size_t{1} << 20);
  EXPECT_LT(ResidentBytes() - before, 16 << 20);
}

TEST_F(SshTransferTest, WritesOnAlthoughNobodyReadsWhatComes) {
  // The command's output stays unread while the window for its input must be seen to open again.
  auto link = Connect("echo unread; head -c 50000000 | wc -c");
  ASSERT_NE(link, nullptr);
  ASSERT_EQ(WriteAll(*link, std::string(50'000'000, 'x')), absl::OkStatus());
  std::string received;
  EXPECT_THAT(ReadToEnd(*link, &received).message(), HasSubstr("ended with status 0"));
  EXPECT_EQ(received, "unread\n50000000\n");
}

TEST_F(SshTransferTest, HandsOnStderrByLines) {
  const os::UniqueFd enough(::eventfd(0, EFD_CLOEXEC));
  const StderrSink sink = [&](std::string_view line) {
    lines_.Sink()(line);
    if (lines_.lines.size() == 2) ::eventfd_write(enough.get(), 1);
  };
  auto link = ConnectSsh(
      server_->OptionsFor("echo one >&2; printf 'tw' >&2; printf 'o\\r\\n\\nlast' >&2; cat >/dev/null"), sink);
  ASSERT_TRUE(link.ok()) << link.status();
  auto ready = (*link)->Wait(false, enough.get(), kTestLimit);
  while (ready.ok() && !ready->wakeup) ready = (*link)->Wait(false, enough.get(), kTestLimit);
  EXPECT_THAT(lines_.lines, ElementsAre("one", "two"));
}

TEST_F(SshTransferTest, TellsExitStatusAndLastLineOfStderr) {
  auto link = Connect("echo first >&2; echo the disk is gone >&2; echo output; exit 3");
  ASSERT_NE(link, nullptr);
  std::string received;
  const absl::Status status = ReadToEnd(*link, &received);
  EXPECT_EQ(received, "output\n");
  EXPECT_THAT(status.message(), AllOf(HasSubstr("ended with status 3"), HasSubstr("the disk is gone")));
  EXPECT_EQ(model::ReactionOf(status), model::Reaction::kReconnect);
  EXPECT_FALSE(link->Write("x").ok());
}

TEST_F(SshTransferTest, TellsTheSignal) {
  auto link = Connect("kill -KILL $$");
  ASSERT_NE(link, nullptr);
  EXPECT_THAT(ReadToEnd(*link).message(), HasSubstr("killed by signal KILL"));
}

TEST_F(SshTransferTest, TellsThatTheCommandIsMissing) {
  auto link = Connect("/no/such/fanmirror receive");
  ASSERT_NE(link, nullptr);
  EXPECT_THAT(ReadToEnd(*link).message(),
              AllOf(HasSubstr("status 127"), HasSubstr("/no/such/fanmirror"), HasSubstr("install fanmirror there")));
}

TEST_F(SshTransferTest, WriterLearnsOfTheEndToo) {
  auto link = Connect("exit 5");
  ASSERT_NE(link, nullptr);
  const std::string data(1 << 16, 'x');
  const auto deadline = absl::Now() + kTestLimit;
  absl::Status status;
  while (status.ok() && absl::Now() < deadline) {
    status = link->Write(data).status();
    if (status.ok()) status = link->Wait(true, -1, kTestLimit).status();
  }
  EXPECT_THAT(status.message(), HasSubstr("ended with status 5"));
}

TEST_F(SshTransferTest, WakeupEndsAWait) {
  auto link = Connect("cat");
  ASSERT_NE(link, nullptr);
  const os::UniqueFd wakeup(::eventfd(0, EFD_CLOEXEC));
  auto ready = link->Wait(false, wakeup.get(), absl::ZeroDuration());
  ASSERT_TRUE(ready.ok());
  EXPECT_FALSE(ready->wakeup);
  std::thread other([&] { ::eventfd_write(wakeup.get(), 1); });
  while (ready.ok() && !ready->wakeup) ready = link->Wait(false, wakeup.get(), kTestLimit);
  other.join();
  EXPECT_TRUE(ready.ok()) << ready.status();
}

TEST_F(SshTransferTest, ServerKilledInMidTransfer) {
  auto own = Sshd::Start();
  ASSERT_TRUE(own.ok()) << own.status();
  auto link = ConnectSsh((*own)->OptionsFor("cat >/dev/null"), nullptr);
  ASSERT_TRUE(link.ok()) << link.status();
  const std::string data(1 << 20, 'x');
  const auto deadline = absl::Now() + kTestLimit;
  std::size_t total = 0;
  absl::Status status;
  while (status.ok() && absl::Now() < deadline) {
    auto taken = (*link)->Write(data);
    status = taken.status();
    if (!status.ok()) break;
    if (total < data.size() && total + *taken >= data.size()) (*own)->Kill();
    total += *taken;
    status = (*link)->Wait(true, -1, absl::Seconds(1)).status();
  }
  EXPECT_THAT(status.message(), HasSubstr("was lost"));
  EXPECT_EQ(model::ReactionOf(status), model::Reaction::kReconnect);
}

}  // namespace
}  // namespace fanmirror::link
