#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace fanmirror::apply {

// The paths where ops failed and the source does not know yet. What it sends for them, or for anything below,
// was planned on a belief that is wrong, and must not be tried.
class Poison {
 public:
  // Bytes of paths that are remembered: beyond, the connection is better begun anew.
  static constexpr std::size_t kMaxBytes = std::size_t{64} << 20;

  void Add(std::string_view path, std::uint64_t batch);
  // `path` or a directory above it is poisoned.
  bool Covers(std::string_view path) const;
  // Something below directory `path` is poisoned.
  bool LiesBelow(std::string_view path) const;
  // The directory `from` is now `to`: what is poisoned below goes with it.
  void Move(std::string_view from, std::string_view to);
  void Exchange(std::string_view one, std::string_view other);
  // The source knows of the failures of batches up to this one.
  void Settle(std::uint64_t batch);

  bool empty() const { return batches_.empty(); }
  bool overfull() const { return bytes_ > kMaxBytes; }

 private:
  using Map = std::map<std::string, std::uint64_t, std::less<>>;
  Map TakeBelow(std::string_view path);

  Map batches_;  // path -> the last batch that failed there
  std::size_t bytes_ = 0;
};

}  // namespace fanmirror::apply
