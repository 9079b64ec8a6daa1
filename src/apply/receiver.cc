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
#include <memory>
#include <string>
#include <utility>

#include "apply/confinement.h"
#include "apply/output.h"
#include "apply/root.h"
#include "apply/session.h"
#include "apply/syncer.h"
#include "model/failure.h"

namespace fanmirror::apply {
namespace {

using model::Reaction;

// Bytes of one read of the input, and of its pipe, when it is one: below, the switching between the processes
// costs more than the copying.
constexpr std::size_t kReadBytes = std::size_t{1} << 20;

// Waits for input and feeds what there is. False: it ended.
absl::StatusOr<bool> FeedSome(int input_fd, Session* session) {
  std::array<pollfd, 2> ready = {pollfd{input_fd, POLLIN, 0}, pollfd{session->sync_failed_fd(), POLLIN, 0}};
  if (poll(ready.data(), ready.size(), -1) < 0 && errno != EINTR) {
    return model::SystemFailure(Reaction::kReconnect, "poll", "the connection", errno);
  }
  if (ready[1].revents != 0) {
    if (absl::Status status = session->TakeSyncFailure(); !status.ok()) return status;
  }
  if (ready[0].revents == 0) return true;
  const absl::Span<char> space = session->Space();
  const ssize_t size = read(input_fd, space.data(), std::min(space.size(), kReadBytes));
  if (size < 0 && (errno == EINTR || errno == EAGAIN)) return true;
  if (size < 0) return model::SystemFailure(Reaction::kReconnect, "read", "the connection", errno);
  if (size == 0) return false;
  if (absl::Status status = session->Fed(static_cast<std::size_t>(size)); !status.ok()) return status;
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
  Session session({.root = std::move(root), .output = &output, .make_syncer = [](Syncer::Calls calls) {
                     return std::make_unique<ThreadSyncer>(std::move(calls));
                   }});
  if (absl::Status status = session.Greet(); !status.ok()) return status;
  for (;;) {
    const absl::StatusOr<bool> more = FeedSome(options.input_fd, &session);
    if (!more.ok()) return more.status();
    if (!*more) return session.End();
  }
}

}  // namespace fanmirror::apply
