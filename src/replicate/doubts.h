#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace fanmirror::replicate {

// The places of the target where failed ops may have left something else than is believed, until it has told what it has
// there. Its batches, and those after them, are as good as not acknowledged until then.
class Doubts {
 public:
  // In the order of the acks. `recursive`: with all below.
  void Add(std::uint64_t batch, const std::string& place, bool recursive);
  // An op after that moved a directory: what is in doubt there and below lies elsewhere now.
  void Renamed(std::string_view from, std::string_view to);
  void Exchanged(std::string_view one, std::string_view other);
  void Clear();

  // By path; true: with all below.
  const std::map<std::string, bool>& places() const { return places_; }
  // The oldest batch that has one of them; 0: there is none.
  std::uint64_t first_batch() const { return first_batch_; }

 private:
  std::map<std::string, bool> Take(std::string_view dir);

  std::map<std::string, bool> places_;
  std::uint64_t first_batch_ = 0;
};

}  // namespace fanmirror::replicate
