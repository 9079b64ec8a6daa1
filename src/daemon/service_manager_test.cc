#include "daemon/service_manager.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "os/unique_fd.h"

namespace fanmirror::daemon {
namespace {

// The service manager's end of the notify socket.
class ServiceManagerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string name = absl::StrCat("@fanmirror-notify-", ::getpid());
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path + 1, name.data() + 1, name.size() - 1);
    socket_.reset(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    ASSERT_EQ(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), length), 0);
    ::setenv("NOTIFY_SOCKET", name.c_str(), 1);
  }
  void TearDown() override {
    ::unsetenv("NOTIFY_SOCKET");
    ::unsetenv("WATCHDOG_USEC");
    ::unsetenv("WATCHDOG_PID");
  }
  std::string Next() {
    char buffer[4096];
    const ssize_t length = ::recv(socket_.get(), buffer, sizeof buffer, 0);
    return std::string(buffer, length > 0 ? static_cast<std::size_t>(length) : 0);
  }
  os::UniqueFd socket_;
};

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

TEST_F(ServiceManagerTest, IsToBeToldTwiceAsOftenAsTheWatchdogBites) {
  EXPECT_EQ(ServiceManager().alive_interval(), absl::InfiniteDuration());
  ::setenv("WATCHDOG_USEC", "3000000", 1);
  ::setenv("WATCHDOG_PID", absl::StrCat(::getpid()).c_str(), 1);
  EXPECT_EQ(ServiceManager().alive_interval(), absl::Milliseconds(1500));
}

}  // namespace
}  // namespace fanmirror::daemon
