#include "daemon/service_manager.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "daemon/testing/notify_socket.h"
#include "gtest/gtest.h"
#include "os/unique_fd.h"

namespace fanmirror::daemon {
namespace {

using ServiceManagerTest = testing::NotifySocketTest;
using testing::RunAsService;

TEST_F(ServiceManagerTest, TellsWhatHappens) {
  const ServiceManager service;
  service.Ready();
  EXPECT_EQ(Next(), "READY=1");
  service.Status("2 of 2 targets live");
  EXPECT_EQ(Next(), "STATUS=2 of 2 targets live");
  service.Alive();
  EXPECT_EQ(Next(), "WATCHDOG=1");
  service.Stopping();
  EXPECT_EQ(Next(), "STOPPING=1");
}

TEST_F(ServiceManagerTest, KeepsDescriptorsForTheNextProcess) {
  os::UniqueFd file(::memfd_create("kept", MFD_CLOEXEC));
  ASSERT_EQ(::write(file.get(), "data", 4), 4);
  ServiceManager first;
  EXPECT_TRUE(first.TakeKept().empty());
  first.Keep("queue-1", file.get());
  file.reset();
  const auto [text, kept] = NextWithFd();
  EXPECT_EQ(text, "FDSTORE=1\nFDPOLL=0\nFDNAME=queue-1");
  ASSERT_TRUE(kept);
  EXPECT_EQ(RunAsService({kept.get(), socket_.get()}, "queue-1:stored",
                         [](ServiceManager& next) {
                           const auto taken = next.TakeKept();
                           if (taken.size() != 2 || taken[0].name != "queue-1" || taken[1].name != "stored") return false;
                           char data[5] = {};
                           return ::pread(taken[0].fd.get(), data, 4, 0) == 4 && std::string(data) == "data" &&
                                  (::fcntl(taken[0].fd.get(), F_GETFD) & FD_CLOEXEC) != 0 &&
                                  ::getenv("LISTEN_FDS") == nullptr && next.TakeKept().empty();
                         }),
            0);
  first.Forget("queue-1");
  EXPECT_EQ(Next(), "FDSTOREREMOVE=1\nFDNAME=queue-1");
}

TEST_F(ServiceManagerTest, IsToBeToldTwiceAsOftenAsTheWatchdogBites) {
  EXPECT_EQ(ServiceManager().alive_interval(), absl::InfiniteDuration());
  ::setenv("WATCHDOG_USEC", "3000000", 1);
  ::setenv("WATCHDOG_PID", absl::StrCat(::getpid()).c_str(), 1);
  EXPECT_EQ(ServiceManager().alive_interval(), absl::Milliseconds(1500));
}

}  // namespace
}  // namespace fanmirror::daemon
