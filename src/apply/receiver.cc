#include "apply/receiver.h"

#include <sys/stat.h>

#include <csignal>

#include "apply/session.h"

namespace fanmirror::apply {

absl::Status RunReceiver(const ReceiverOptions& options) {
  umask(0);
  std::signal(SIGPIPE, SIG_IGN);
  return Session(options).Run();
}

}  // namespace fanmirror::apply
