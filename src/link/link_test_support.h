#pragma once

#include <sys/eventfd.h>

#include <algorithm>
#include <cstring>
#include <random>
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

// A stream of bytes that can be made anew at the far end, to compare without keeping. It repeats after so many bytes
// that no buffer on the way is that long or a multiple of it, so that lost, doubled and moved bytes all differ.
class ByteStream {
 public:
  void Fill(char* to, std::size_t size) {
    ForEachPiece(size, [&](const char* piece, std::size_t length) {
      std::memcpy(to, piece, length);
      to += length;
      return true;
    });
  }
  bool Matches(const char* from, std::size_t size) {
    return ForEachPiece(size, [&](const char* piece, std::size_t length) {
      const bool equal = std::memcmp(from, piece, length) == 0;
      from += length;
      return equal;
    });
  }

 private:
  static constexpr std::size_t kPeriod = 1'048'573;  // a prime

  static const std::string& Pattern() {
    static const std::string pattern = [] {
      std::string bytes(kPeriod, '\0');
      std::mt19937_64 random(1);
      for (char& byte : bytes) byte = static_cast<char>(random());
      return bytes;
    }();
    return pattern;
  }
  template <typename Use>
  bool ForEachPiece(std::size_t size, const Use& use) {
    while (size > 0) {
      const std::size_t length = std::min(size, kPeriod - position_);
      if (!use(Pattern().data() + position_, length)) return false;
      position_ = (position_ + length) % kPeriod;
      size -= length;
    }
    return true;
  }
  std::size_t position_ = 0;
};

// The sanitizers see each path in fewer bytes, at a tenth of the speed.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr std::size_t kEchoBytes = std::size_t{1} << 24;
#else
inline constexpr std::size_t kEchoBytes = std::size_t{1} << 30;
#endif

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
  const auto deadline = absl::Now() + kTestLimit;
  while (!data.empty() || link.WritePending()) {
    if (absl::Now() > deadline) return absl::DeadlineExceededError(absl::StrCat(data.size(), " bytes are left"));
    auto taken = link.Write(absl::MakeConstSpan(data.data(), data.size()));
    if (!taken.ok()) return taken.status();
    data.remove_prefix(*taken);
    if (*taken > 0) continue;
    if (auto ready = link.Wait(!data.empty(), -1, kTestLimit / 4); !ready.ok()) return ready.status();
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
