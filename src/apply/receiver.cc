#include "apply/receiver.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "apply/confinement.h"
#include "apply/heartbeat.h"
#include "apply/output.h"
#include "apply/root.h"
#include "apply/session.h"
#include "apply/syncer.h"
#include "model/failure.h"
#include "os/clock.h"

namespace fanmirror::apply {
namespace {

using model::Reaction;

// Bytes of one read of the input, and of its pipe, when it is one: below, the switching between the processes
// costs more than the copying.
constexpr std::size_t kReadBytes = std::size_t{1} << 20;

// When the source is lost: it said nothing for the silence that its Hello has.
class Patience {
 public:
  void Limit(absl::Duration silence) { silence_ns_ = absl::ToInt64Nanoseconds(silence); }
  void Heard() { heard_ns_ = os::BoottimeNs(); }
  // As poll(2) takes it; -1: for ever.
  int MillisecondsLeft() const {
    if (silence_ns_ == 0) return -1;
    const std::int64_t left = heard_ns_ + silence_ns_ - os::BoottimeNs();
    return static_cast<int>(std::max<std::int64_t>(0, left / kNsOfMs + 1));
  }
  absl::Status Check() const {
    if (silence_ns_ == 0 || os::BoottimeNs() - heard_ns_ < silence_ns_) return absl::OkStatus();
    return model::Failure(Reaction::kReconnect, absl::StrCat("the source was silent for ",
                                                             absl::FormatDuration(absl::Nanoseconds(silence_ns_))));
  }

 private:
  static constexpr std::int64_t kNsOfMs = 1'000'000;
  std::int64_t silence_ns_ = 0;  // 0: no limit
  std::int64_t heard_ns_ = 0;
};

// Waits for input and feeds what there is. False: it ended.
absl::StatusOr<bool> FeedSome(int input_fd, Patience* patience, Session* session) {
  std::array<pollfd, 2> ready = {pollfd{input_fd, POLLIN, 0}, pollfd{session->sync_failed_fd(), POLLIN, 0}};
  if (poll(ready.data(), ready.size(), patience->MillisecondsLeft()) < 0 && errno != EINTR) {
    return model::SystemFailure(Reaction::kReconnect, "poll", "the connection", errno);
  }
  if (ready[1].revents != 0) {
    if (absl::Status status = session->TakeSyncFailure(); !status.ok()) return status;
  }
  if (ready[0].revents == 0) {
    if (absl::Status status = patience->Check(); !status.ok()) return status;
    return true;
  }
  const absl::Span<char> space = session->Space();
  const ssize_t size = read(input_fd, space.data(), std::min(space.size(), kReadBytes));
  if (size < 0 && (errno == EINTR || errno == EAGAIN)) return true;
  if (size < 0) return model::SystemFailure(Reaction::kReconnect, "read", "the connection", errno);
  if (size == 0) return false;
  if (absl::Status status = session->Fed(static_cast<std::size_t>(size)); !status.ok()) return status;
  patience->Heard();  // now: what was heard may have taken long to do
  return true;
}

}  // namespace

absl::Status RunReceiver(const ReceiverOptions& options) {
  umask(0);
  std::signal(SIGPIPE, SIG_IGN);
  absl::StatusOr<std::unique_ptr<Root>> root = Root::Open(options.root);
  const absl::StatusOr<std::string> missing = Confine(root.ok() ? (*root)->fd() : -1);
  if (!missing.ok()) root = missing.status();  // the source is told, as of a root that cannot be opened
  if (missing.ok() && !missing->empty() && options.say) options.say(*missing);
  // Fails where the input is no pipe, or above the limit of an unprivileged user: it stays as large as it is.
  static_cast<void>(fcntl(options.input_fd, F_SETPIPE_SZ, static_cast<int>(kReadBytes)));
  DescriptorOutput output(options.output_fd);
  Patience patience;
  std::optional<Heartbeat> heartbeat;
  const auto on_hello = [&](const wire::Hello& hello) {
    if (hello.silence == absl::ZeroDuration()) return;
    patience.Limit(hello.silence);
    output.Limit(hello.silence);
    heartbeat.emplace(&output, hello.silence / wire::kHeartbeats);
  };
  Session session({.root = std::move(root), .output = &output, .on_hello = on_hello, .make_syncer = [](Syncer::Calls calls) {
                     return std::make_unique<ThreadSyncer>(std::move(calls));
                   }});
  if (absl::Status status = session.Greet(); !status.ok()) return status;
  for (;;) {
    const absl::StatusOr<bool> more = FeedSome(options.input_fd, &patience, &session);
    if (!more.ok()) return more.status();
    if (!*more) return session.End();
  }
}

}  // namespace fanmirror::apply
