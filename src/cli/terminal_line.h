#pragma once

#include <mutex>
#include <string>
#include <string_view>

namespace fanmirror::cli {

// One line at the bottom of the terminal that stderr is, drawn again and again, with other lines scrolling
// above it. Thread-safe.
class TerminalLine {
 public:
  // Whether stderr is a terminal that can do this.
  static bool Possible();

  ~TerminalLine() { Clear(); }
  void Draw(std::string_view line);
  // A line that stays, above the drawn one. Control characters must be escaped.
  void Print(std::string_view line);
  void Clear();

 private:
  void Show(const std::string& line);

  std::mutex mutex_;
  std::string drawn_;
};

}  // namespace fanmirror::cli
