#include "link/stderr_lines.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace fanmirror::link {
namespace {

// A far side that floods stderr must not keep the thread from the data.
constexpr int kMaxReadsAtOnce = 16;

}  // namespace

void StderrLines::Add(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::size_t newline = bytes.find('\n');
    const std::size_t room = kMaxLineBytes - partial_.size();
    const std::size_t taken = std::min({newline, bytes.size(), room});
    partial_.append(bytes.substr(0, taken));
    bytes.remove_prefix(taken);
    const bool ended = !bytes.empty() && bytes.front() == '\n';
    if (ended) bytes.remove_prefix(1);
    if (ended || partial_.size() == kMaxLineBytes) HandOn();
  }
}

bool StderrLines::AddFrom(int fd) {
  std::array<char, 4096> buffer;
  for (int i = 0; i < kMaxReadsAtOnce; ++i) {
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got > 0) {
      Add({buffer.data(), static_cast<std::size_t>(got)});
    } else {
      return got < 0 && (errno == EAGAIN || errno == EINTR);
    }
  }
  return true;
}

void StderrLines::Finish() { HandOn(); }

void StderrLines::HandOn() {
  if (!partial_.empty() && partial_.back() == '\r') partial_.pop_back();
  if (!partial_.empty()) {
    if (sink_) sink_(partial_);
    last_line_ = partial_;
  }
  partial_.clear();
}

}  // namespace fanmirror::link
