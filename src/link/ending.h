#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace fanmirror::link {

// What is known of the end of a far side. Its output may end a little before its exit status is known, so the end
// is told only when the status has come or kEndingGrace is over.
class Ending {
 public:
  using Clock = std::chrono::steady_clock;
  // Between the end of the output and the exit status there is one round trip; more is not worth the wait.
  static constexpr std::chrono::milliseconds kEndingGrace{2000};

  bool begun() const { return begun_.has_value(); }
  void Begin() {
    if (!begun_) begun_ = Clock::now();
  }
  void SetExitStatus(int status) { exit_status_ = status; }
  void SetSignal(std::string_view name) { signal_ = name; }
  // The status will never come.
  void Close() { closed_ = true; }
  bool known() const { return exit_status_.has_value() || signal_.has_value(); }
  bool succeeded() const { return exit_status_ == 0; }

  // Begun, and there is nothing more to wait for.
  bool complete() const { return begun() && (known() || closed_ || Clock::now() - *begun_ >= kEndingGrace); }
  // Milliseconds until complete() for want of a status. Only when begun.
  int MillisecondsLeft() const;

  // One line. `who` as in "the receiver on 'host'"; `last_line` of its stderr, or empty.
  absl::Status ToStatus(std::string_view who, std::string_view last_line) const;

 private:
  std::optional<Clock::time_point> begun_;
  bool closed_ = false;
  std::optional<int> exit_status_;
  std::optional<std::string> signal_;
};

}  // namespace fanmirror::link
