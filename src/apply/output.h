#pragma once

#include <mutex>
#include <string_view>

#include "absl/status/status.h"

namespace fanmirror::apply {

// The way back to the source. Thread-safe: what one call writes stays together. Blocks while the source does
// not read.
class Output {
 public:
  explicit Output(int fd) : fd_(fd) {}
  absl::Status Write(std::string_view bytes);

 private:
  std::mutex mutex_;
  int fd_;
};

}  // namespace fanmirror::apply
