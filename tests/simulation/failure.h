#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace fanmirror::simulation {

// What happened in this run, for the report of a failure.
class Trace {
 public:
  static Trace& Get();
  void Begin(std::uint64_t seed, bool verbose);  // verbose: each line is shown at once
  void Add(std::string_view line);
  std::uint64_t hash() const { return hash_; }  // of all lines: equal runs have equal ones
  // The last lines.
  std::string Tail() const;
  std::uint64_t seed() const { return seed_; }

 private:
  std::uint64_t seed_ = 0;
  bool verbose_ = false;
  std::uint64_t hash_ = 0;
  std::string text_;
};

// Ends this process with a report: the seed shows a fault.
[[noreturn]] void Fail(std::string_view what);
// Of the simulation itself: what cannot go wrong did.
inline void Require(bool condition, const std::string& what) {
  if (!condition) Fail("the simulation cannot " + what);
}

}  // namespace fanmirror::simulation
