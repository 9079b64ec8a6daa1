#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "link/link.h"
#include "simulation/random.h"

namespace fanmirror::simulation {

// What is under way between source and target, in both directions. Bytes arrive when the simulation says so.
class Wire {
 public:
  explicit Wire(Random* random) : random_(random) {}

  std::string to_receiver;  // sent and not arrived
  std::string to_source;

  // The connection breaks: some of what is under way still arrives, cut at any byte. `silent`: the source is not told
  // before its kernel gives up.
  void Cut(bool silent);
  // The receiver's end is closed: all that it sent arrives.
  void HangUp();
  bool cut() const { return cut_; }
  bool silent() const { return silent_; }
  // What of to_source the source may read now.
  void Arrive(std::size_t bytes) { arrived_ += bytes; }
  std::size_t arrived() const { return arrived_; }

 private:
  friend class WireLink;
  // Whether the source's kernel tells that the connection is over.
  bool Broken() const;

  Random* const random_;
  bool cut_ = false;
  bool silent_ = false;
  std::size_t arrived_ = 0;
  std::int64_t cut_ns_ = 0;
};

// The source's end of a Wire, which outlives it.
class WireLink : public link::Link {
 public:
  explicit WireLink(Wire* wire) : wire_(wire) {}
  absl::StatusOr<std::size_t> Write(absl::Span<const char> data) override;
  absl::StatusOr<std::size_t> Read(absl::Span<char> buffer) override;
  bool WritePending() const override { return false; }
  absl::StatusOr<Ready> Wait(bool want_write, int wakeup_fd, absl::Duration timeout) override;

 private:
  Wire* wire_;
};

}  // namespace fanmirror::simulation
