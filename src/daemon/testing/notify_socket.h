#pragma once

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "daemon/service_manager.h"
#include "gtest/gtest.h"
#include "os/unique_fd.h"

namespace fanmirror::daemon::testing {

// The service manager's end of the notify socket.
class NotifySocketTest : public ::testing::Test {
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
  std::string Next() { return NextWithFd().first; }
  // The text, and the descriptor that came with it. Blocks until there is one.
  std::pair<std::string, os::UniqueFd> NextWithFd() {
    char buffer[4096];
    alignas(cmsghdr) char control[256];
    iovec part{buffer, sizeof buffer};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const ssize_t length = ::recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC);
    os::UniqueFd fd;
    for (cmsghdr* each = CMSG_FIRSTHDR(&message); each != nullptr; each = CMSG_NXTHDR(&message, each)) {
      if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS) continue;
      int number = -1;
      std::memcpy(&number, CMSG_DATA(each), sizeof number);
      fd.reset(number);
    }
    return {std::string(buffer, length > 0 ? static_cast<std::size_t>(length) : 0), std::move(fd)};
  }
  os::UniqueFd socket_;
};

// Everything up to the end of a child that is started as a service manager does.
inline int RunAsService(const std::vector<int>& fds, const std::string& names, const std::function<bool(ServiceManager&)>& act) {
  const pid_t child = ::fork();
  if (child == 0) {
    // Out of the way first: a number may be both old and new.
    std::vector<int> moved;
    for (const int fd : fds) moved.push_back(::fcntl(fd, F_DUPFD, 100));
    for (std::size_t i = 0; i < moved.size(); ++i) ::dup2(moved[i], static_cast<int>(SD_LISTEN_FDS_START + i));
    ::setenv("LISTEN_PID", absl::StrCat(::getpid()).c_str(), 1);
    ::setenv("LISTEN_FDS", absl::StrCat(fds.size()).c_str(), 1);
    ::setenv("LISTEN_FDNAMES", names.c_str(), 1);
    ServiceManager service;
    ::_exit(act(service) ? 0 : 1);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return status;
}

}  // namespace fanmirror::daemon::testing
