#include "cli/terminal_line.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "cli/progress_line.h"

namespace fanmirror::cli {
namespace {

constexpr std::size_t kUsualColumns = 80;
constexpr char kClear[] = "\r\x1b[K";

std::size_t Columns() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kUsualColumns;
  return size.ws_col;
}

}  // namespace

bool TerminalLine::Possible() {
  const char* terminal = std::getenv("TERM");
  return ::isatty(STDERR_FILENO) != 0 && (terminal == nullptr || std::strcmp(terminal, "dumb") != 0);
}

void TerminalLine::Draw(std::string_view line) {
  // The last column stays free: some terminals begin a new line as soon as it is written.
  std::string cut = CutToWidth(line, Columns() - 1);
  std::lock_guard lock(mutex_);
  if (cut == drawn_) return;
  drawn_ = std::move(cut);
  Show(drawn_);
}

void TerminalLine::Print(std::string_view line) {
  std::lock_guard lock(mutex_);
  Show(std::string(line) + "\n" + drawn_);
}

void TerminalLine::Clear() {
  std::lock_guard lock(mutex_);
  if (drawn_.empty()) return;
  drawn_.clear();
  Show("");
}

void TerminalLine::Show(const std::string& line) {
  std::fprintf(stderr, "%s%s", kClear, line.c_str());
  std::fflush(stderr);
}

}  // namespace fanmirror::cli
