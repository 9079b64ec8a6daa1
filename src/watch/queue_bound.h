#pragma once

namespace fanmirror::watch {

// How many events the kernel keeps for a watch that does not read them.
enum class QueueBound {
  kUnlimited,  // as memory allows: some 100 bytes each, charged to our control group
  kSystem      // fs.fanotify.max_queued_events, as it is when the watch begins; what is more is one overflow
};

}  // namespace fanmirror::watch
