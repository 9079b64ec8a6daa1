#pragma once

#include <atomic>
#include <mutex>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"

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
  // From now on a source that takes nothing for so long is lost. Until then Write waits for ever.
  void Limit(absl::Duration silence) { silence_ms_ = static_cast<int>(absl::ToInt64Milliseconds(silence)); }
  absl::Status Write(std::string_view bytes) override;

 private:
  absl::Status AwaitRoom() const;

  std::atomic<int> silence_ms_{-1};  // as poll(2) takes it
  std::mutex mutex_;
  int fd_;
};

}  // namespace fanmirror::apply
