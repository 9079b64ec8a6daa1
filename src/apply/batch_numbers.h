#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace fanmirror::apply {

// How far this target is, kept as the name of an empty file: .fanmirror/at.BEGUN.DURABLE. A rename costs no
// sync, and on a journaling filesystem nothing that is done after it becomes durable before it: after a power
// cut `begun` is never below the batches of which something may be there. Thread-safe after Load.
class BatchNumbers {
 public:
  // Reads the name. None, a broken one or several give 0 and 0: the source then asks for listings.
  // `home_fd` outlives this.
  absl::Status Load(int home_fd);
  // Forgets what was loaded: the numbers are of another source.
  absl::Status Reset();

  // Before the first op of a batch.
  absl::Status Begin(std::uint64_t number);
  // After the sync that made it durable.
  absl::Status Durable(std::uint64_t number);

  std::uint64_t begun() const;
  std::uint64_t durable() const;

 private:
  // With the mutex held.
  absl::Status MoveTo(std::uint64_t begun, std::uint64_t durable);
  absl::Status RemoveAll();

  mutable std::mutex mutex_;  // guards the following
  int home_fd_ = -1;
  std::uint64_t begun_ = 0;
  std::uint64_t durable_ = 0;
};

}  // namespace fanmirror::apply
