#include "replicate/doubts.h"

namespace fanmirror::replicate {

void Doubts::Add(std::uint64_t batch, const std::string& place, bool recursive) {
  places_[place] |= recursive;
  if (first_batch_ == 0) first_batch_ = batch;
}

// What is in doubt at and below `dir`, by the rest of its path. The place itself stays in doubt, too: something may lie there
// again.
std::map<std::string, bool> Doubts::Take(std::string_view dir) {
  std::map<std::string, bool> taken;
  if (const auto itself = places_.find(std::string(dir)); itself != places_.end()) taken.emplace("", itself->second);
  const std::string prefix = std::string(dir) + '/';
  for (auto at = places_.lower_bound(prefix); at != places_.end() && at->first.starts_with(prefix);) {
    taken.emplace(at->first.substr(dir.size()), at->second);
    at = places_.erase(at);
  }
  return taken;
}

void Doubts::Renamed(std::string_view from, std::string_view to) {
  for (const auto& [rest, recursive] : Take(from)) places_[std::string(to) + rest] |= recursive;
}

void Doubts::Exchanged(std::string_view one, std::string_view other) {
  const auto at_one = Take(one);
  Renamed(other, one);
  for (const auto& [rest, recursive] : at_one) places_[std::string(other) + rest] |= recursive;
}

void Doubts::Clear() {
  places_.clear();
  first_batch_ = 0;
}

}  // namespace fanmirror::replicate
