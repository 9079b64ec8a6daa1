#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "link/link.h"

namespace fanmirror::link {

// Cuts what a far side writes to stderr into lines, hands them on, and keeps the last one for error messages.
class StderrLines {
 public:
  static constexpr std::size_t kMaxLineBytes = 1000;  // a longer line becomes several: memory stays bounded

  explicit StderrLines(StderrSink sink) : sink_(std::move(sink)) {}

  void Add(std::string_view bytes);
  // Reads a non-blocking descriptor until it is empty or ended, but for a bounded time only. False: it has ended.
  bool AddFrom(int fd);
  // The stream has ended: what has no newline is a line, too.
  void Finish();

  // Empty: there was none yet.
  const std::string& last_line() const { return last_line_; }

 private:
  void HandOn();

  StderrSink sink_;
  std::string partial_;
  std::string last_line_;
};

}  // namespace fanmirror::link
