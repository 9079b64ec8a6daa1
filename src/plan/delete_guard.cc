#include "plan/delete_guard.h"

#include <algorithm>

namespace fanmirror::plan {

bool DeleteGuard::Guards(std::uint64_t entries) const {
  return (limit_.fraction || limit_.count) && entries > kGuardedEntries;
}

std::uint64_t DeleteGuard::LimitOf(std::uint64_t entries) const {
  return limit_.count ? *limit_.count : static_cast<std::uint64_t>(*limit_.fraction * static_cast<double>(entries));
}

std::uint64_t DeleteGuard::Spent(std::int64_t now_ns) {
  while (!done_.empty() && done_.front().at_ns <= now_ns - kWindowNs) done_.pop_front();
  std::uint64_t spent = under_way_;
  for (const Done& done : done_) spent += done.count;
  return spent;
}

std::optional<std::uint64_t> DeleteGuard::Allowance(const Situation& situation) {
  if (holding() || undecided_) return 0;
  if (!Guards(situation.entries)) return std::nullopt;
  if (situation.scanning) return 0;
  base_ = 0;
  const std::uint64_t limit = LimitOf(situation.entries);
  const std::uint64_t spent = Spent(situation.now_ns);
  const bool much_may_come = spent + situation.backlog > limit;
  if (!much_may_come) looks_ahead_ = true;
  if (looks_ahead_ && much_may_come) return 0;
  return limit - std::min(limit, spent);
}

void DeleteGuard::Settled(std::int64_t now_ns, std::uint64_t count, std::uint64_t removed) {
  under_way_ -= std::min(under_way_, count);
  if (removed == 0) return;
  if (done_.empty() || done_.back().at_ns <= now_ns - kGrainNs) done_.push_back({now_ns, 0});
  done_.back().count += removed;
}

void DeleteGuard::HeldBack(std::int64_t now_ns) {
  if (!undecided_) undecided_since_ns_ = now_ns;
  undecided_ = true;
}

DeleteGuard::Verdict DeleteGuard::Decide(const Situation& situation, std::uint64_t held) {
  undecided_ = false;
  const std::uint64_t entries = base_ > kGuardedEntries ? base_ : situation.entries;
  base_ = 0;
  if (held > 0 && holding()) return Verdict::kHold;
  const bool too_many = Guards(entries) && Spent(situation.now_ns) + held > LimitOf(entries);
  held_of_ = held > 0 && too_many ? entries : 0;
  if (holding()) return Verdict::kHold;
  looks_ahead_ = false;
  return Verdict::kRelease;
}

bool DeleteGuard::Approve() {
  if (!holding() && !undecided_) return false;
  held_of_ = 0;
  undecided_ = false;
  return true;
}

}  // namespace fanmirror::plan
