#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "apply/receiver.h"
#include "link/link.h"
#include "model/failure.h"
#include "os/unique_fd.h"

namespace fanmirror::replicate::testing {

// After so many bytes a connection dies.
struct LinkLife {
  std::uint64_t written = std::numeric_limits<std::uint64_t>::max();  // to the receiver
  std::uint64_t read = std::numeric_limits<std::uint64_t>::max();     // from it
  bool vanishes = false;  // then packets vanish, and nothing tells of the end
  std::function<bool(absl::Span<const char>)> ends_with = {};  // asked of all that is written; true: that was the last of it
};

// A receiver on a thread of this process, and the link to it. The destructor waits for the receiver's end, so
// there is never a second one.
class ReceiverLink : public link::Link {
 public:
  ReceiverLink(const std::string& root, LinkLife life) : life_(life) {
    std::array<int, 2> fds{-1, -1};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()) != 0) std::abort();
    ours_ = os::UniqueFd(fds[0]);
    theirs_ = os::UniqueFd(fds[1]);
    receiver_ = std::thread([root, fd = theirs_.get()] {
      apply::RunReceiver({root, fd, fd}).IgnoreError();
      shutdown(fd, SHUT_RDWR);
    });
  }
  ~ReceiverLink() override {
    shutdown(ours_.get(), SHUT_RDWR);
    receiver_.join();
  }

  absl::StatusOr<std::size_t> Write(absl::Span<const char> data) override {
    if (life_.written == 0 && life_.vanishes) return data.size();
    if (life_.written == 0) return Died();
    const std::size_t size = std::min<std::uint64_t>(data.size(), life_.written);
    const ssize_t taken = send(ours_.get(), data.data(), size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (taken < 0) return errno == EAGAIN ? absl::StatusOr<std::size_t>(0) : Died();
    life_.written -= static_cast<std::size_t>(taken);
    if (life_.ends_with && life_.ends_with(data.subspan(0, static_cast<std::size_t>(taken)))) life_.written = life_.read = 0;
    return static_cast<std::size_t>(taken);
  }
  absl::StatusOr<std::size_t> Read(absl::Span<char> buffer) override {
    if (life_.read == 0 && life_.vanishes) return 0;
    if (life_.read == 0) return Died();
    const std::size_t size = std::min<std::uint64_t>(buffer.size(), life_.read);
    const ssize_t got = recv(ours_.get(), buffer.data(), size, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return 0;
    if (got <= 0) return Died();
    life_.read -= static_cast<std::size_t>(got);
    return static_cast<std::size_t>(got);
  }
  bool WritePending() const override { return false; }
  absl::StatusOr<Ready> Wait(bool want_write, int wakeup_fd, absl::Duration timeout) override {
    const bool gone = life_.vanishes && (life_.read == 0 || life_.written == 0);
    const short events = static_cast<short>(want_write ? POLLIN | POLLOUT : POLLIN);
    std::array<pollfd, 2> fds{{{gone ? -1 : ours_.get(), events, 0}, {wakeup_fd, POLLIN, 0}}};
    poll(fds.data(), fds.size(), static_cast<int>(absl::ToInt64Milliseconds(timeout)) + 1);
    return Ready{.wakeup = fds[1].revents != 0};
  }

 private:
  static absl::Status Died() { return model::Failure(model::Reaction::kReconnect, "the connection died"); }

  LinkLife life_;
  os::UniqueFd ours_;
  os::UniqueFd theirs_;
  std::thread receiver_;
};

}  // namespace fanmirror::replicate::testing
