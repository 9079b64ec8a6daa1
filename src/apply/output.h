#pragma once

#include <mutex>
#include <string_view>

#include "absl/status/status.h"

namespace fanmirror::apply {

// The way back to the source. Thread-safe: what one call writes stays together.
class Output {
 public:
  virtual ~Output() = default;
  // May block while the source does not read.
  virtual absl::Status Write(std::string_view bytes) = 0;
};

// Writes to a descriptor, which it does not own.
class DescriptorOutput : public Output {
 public:
  explicit DescriptorOutput(int fd) : fd_(fd) {}
  absl::Status Write(std::string_view bytes) override;

 private:
  std::mutex mutex_;
  int fd_;
};

}  // namespace fanmirror::apply
