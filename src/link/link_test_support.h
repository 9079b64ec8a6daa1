#pragma once

#include <sys/eventfd.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "link/link.h"
#include "os/unique_fd.h"

namespace fanmirror::link {

// Longer than anything here takes on a loaded machine: only a test that hangs gets there.
inline constexpr absl::Duration kTestLimit = absl::Seconds(60);

struct Lines {
  std::vector<std::string> lines;
  StderrSink Sink() {
    return [this](std::string_view line) { lines.emplace_back(line); };
  }
};

inline bool Contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

// A stream of bytes that anyone can make anew from the position, to compare without keeping.
class ByteStream {
 public:
  void Fill(char* to, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) to[i] = Next();
  }
  bool Matches(const char* from, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) {
      if (from[i] != Next()) return false;
    }
    return true;
  }

 private:
  char Next() {
    if (left_ == 0) {
      state_ ^= state_ << 13;
      state_ ^= state_ >> 7;
      state_ ^= state_ << 17;
      word_ = state_;
      left_ = 8;
    }
    const char byte = static_cast<char>(word_);
    word_ >>= 8;
    --left_;
    return byte;
  }
  std::uint64_t state_ = 0x9e3779b97f4a7c15;
  std::uint64_t word_ = 0;
  int left_ = 0;
};

// Reads until the link fails; gives that failure, and what was read in `*received`.
inline absl::Status ReadToEnd(Link& link, std::string* received = nullptr) {
  std::vector<char> buffer(1 << 16);
  const auto deadline = absl::Now() + kTestLimit;
  while (absl::Now() < deadline) {
    auto got = link.Read(absl::MakeSpan(buffer));
    if (!got.ok()) return got.status();
    if (received != nullptr) received->append(buffer.data(), *got);
    if (*got > 0) continue;
    if (auto ready = link.Wait(false, -1, kTestLimit); !ready.ok()) return ready.status();
  }
  return absl::OkStatus();
}

// Reads until `size` bytes have come.
inline absl::StatusOr<std::string> ReadBytes(Link& link, std::size_t size) {
  std::string received(size, '\0');
  std::size_t have = 0;
  while (have < size) {
    auto got = link.Read(absl::MakeSpan(received).subspan(have));
    if (!got.ok()) return got.status();
    have += *got;
    if (*got > 0) continue;
    if (auto ready = link.Wait(false, -1, kTestLimit); !ready.ok()) return ready.status();
  }
  return received;
}

// Writes all, waiting as needed; nobody reads.
inline absl::Status WriteAll(Link& link, std::string_view data) {
  while (!data.empty() || link.WritePending()) {
    auto taken = link.Write(absl::MakeConstSpan(data.data(), data.size()));
    if (!taken.ok()) return taken.status();
    data.remove_prefix(*taken);
    if (*taken > 0) continue;
    if (auto ready = link.Wait(!data.empty(), -1, kTestLimit); !ready.ok()) return ready.status();
  }
  return absl::OkStatus();
}

// Sends `size` bytes to a far side that echoes, and compares what comes back. OK: all came back equal.
inline absl::Status Echo(Link& link, std::size_t size) {
  ByteStream sent;
  ByteStream expected;
  std::vector<char> out(1 << 18);
  std::vector<char> in(1 << 18);
  std::size_t filled = 0;
  std::size_t begin = 0;
  std::size_t end = 0;
  std::size_t received = 0;
  while (received < size) {
    if (begin == end && filled < size) {
      begin = 0;
      end = std::min(out.size(), size - filled);
      sent.Fill(out.data(), end);
      filled += end;
    }
    auto taken = link.Write(absl::MakeConstSpan(out).subspan(begin, end - begin));
    if (!taken.ok()) return taken.status();
    begin += *taken;
    auto got = link.Read(absl::MakeSpan(in));
    if (!got.ok()) return got.status();
    if (!expected.Matches(in.data(), *got)) return absl::DataLossError(absl::StrCat("differs after ", received));
    received += *got;
    if (*taken + *got > 0) continue;
    if (auto ready = link.Wait(begin < end, -1, kTestLimit); !ready.ok()) return ready.status();
  }
  return absl::OkStatus();
}

}  // namespace fanmirror::link
