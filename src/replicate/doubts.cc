#include "replicate/doubts.h"

#include <utility>

namespace fanmirror::replicate {

void Doubts::Add(std::uint64_t batch, const std::string& place, bool recursive) {
  places_[place] |= recursive;
  if (first_batch_ == 0) first_batch_ = batch;
}

std::map<std::string, bool> Doubts::TakeBelow(std::string_view dir) {
  std::map<std::string, bool> taken;
  const std::string prefix = std::string(dir) + '/';
  for (auto at = places_.lower_bound(prefix); at != places_.end() && at->first.starts_with(prefix);) {
    taken.emplace(at->first.substr(dir.size()), at->second);
    at = places_.erase(at);
  }
  return taken;
}

void Doubts::Renamed(std::string_view from, std::string_view to) {
  for (const auto& [below, recursive] : TakeBelow(from)) places_[std::string(to) + below] |= recursive;
}

void Doubts::Exchanged(std::string_view one, std::string_view other) {
  const auto below_one = TakeBelow(one);
  Renamed(other, one);
  for (const auto& [below, recursive] : below_one) places_[std::string(other) + below] |= recursive;
}

void Doubts::Clear() {
  places_.clear();
  first_batch_ = 0;
}

}  // namespace fanmirror::replicate
