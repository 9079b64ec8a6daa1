#include "apply/poison.h"

#include <algorithm>

#include "apply/paths.h"

namespace fanmirror::apply {

void Poison::Add(std::string_view path, std::uint64_t batch) {
  const auto [at, added] = batches_.try_emplace(std::string(path), batch);
  at->second = std::max(at->second, batch);
  if (added) bytes_ += path.size() + sizeof(Map::value_type);
}

bool Poison::Covers(std::string_view path) const { return CoversPath(batches_, path); }

bool Poison::LiesBelow(std::string_view path) const { return HoldsBelow(batches_, path); }

Poison::Map Poison::TakeBelow(std::string_view path) {
  Map taken;
  const std::string prefix = PrefixBelow(path);
  for (auto at = batches_.lower_bound(prefix); at != batches_.end() && at->first.starts_with(prefix);) {
    bytes_ -= at->first.size() + sizeof(Map::value_type);
    auto node = batches_.extract(at++);
    taken.insert(std::move(node));
  }
  return taken;
}

void Poison::Move(std::string_view from, std::string_view to) {
  if (batches_.empty()) return;
  for (const auto& [path, batch] : TakeBelow(from)) Add(std::string(to) + path.substr(from.size()), batch);
}

void Poison::Exchange(std::string_view one, std::string_view other) {
  if (batches_.empty()) return;
  const Map from_one = TakeBelow(one);
  const Map from_other = TakeBelow(other);
  for (const auto& [path, batch] : from_one) Add(std::string(other) + path.substr(one.size()), batch);
  for (const auto& [path, batch] : from_other) Add(std::string(one) + path.substr(other.size()), batch);
}

void Poison::Settle(std::uint64_t batch) {
  for (auto at = batches_.begin(); at != batches_.end();) {
    if (at->second > batch) {
      ++at;
      continue;
    }
    bytes_ -= at->first.size() + sizeof(Map::value_type);
    at = batches_.erase(at);
  }
}

}  // namespace fanmirror::apply
