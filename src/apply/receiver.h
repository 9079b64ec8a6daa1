#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"

namespace fanmirror::apply {

struct ReceiverOptions {
  std::string root;  // directory; made when missing (its parent exists)
  int input_fd = 0;
  int output_fd = 1;
  // Gets what the kernel cannot do for the confinement, at most one line. May be empty.
  std::function<void(const std::string&)> say = {};
};

// The far side: speaks the conversation of wire/ over the descriptors until the input ends, applies batches
// below the root and nowhere else, and makes them durable before it acknowledges. Blocks. OK at an orderly
// end of input. Confines the calling thread, for good, before it reads the first byte (confinement.h). Sets the umask of
// the process to 0 and ignores SIGPIPE. SIGTERM may end the process at any time: what is not finished is in the staging
// area, which the next receiver empties.
absl::Status RunReceiver(const ReceiverOptions& options);

}  // namespace fanmirror::apply
