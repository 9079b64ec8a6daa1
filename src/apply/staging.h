#pragma once

#include <cstdint>
#include <string>

namespace fanmirror::apply {

// Where nodes are made before they appear under their name. Was empty when the receiver began; every name is
// used once.
class Staging {
 public:
  explicit Staging(int fd) : fd_(fd) {}
  int fd() const { return fd_; }
  std::string NextName() { return std::to_string(++last_); }

 private:
  int fd_;
  std::uint64_t last_ = 0;
};

}  // namespace fanmirror::apply
