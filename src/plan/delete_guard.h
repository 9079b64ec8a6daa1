#pragma once

#include <cstdint>
#include <deque>
#include <optional>

namespace fanmirror::plan {

// Decides whether deletes may flow to a target, or are so many that a person has to approve them. Deletes are counted as
// entries that the target loses because the source has them no more. Pure; times are nanoseconds of one clock.
//
// Deletes come in many rounds, so those of the last kWindowNs count together. And where many more may come (a scan of the
// whole source is under way, or much is pending) they are held back until all has been looked at, then judged together:
// otherwise the first half would be gone before the second is seen.
class DeleteGuard {
 public:
  static constexpr std::int64_t kWindowNs = 60'000'000'000;
  // In a smaller tree half is soon deleted by hand.
  static constexpr std::uint64_t kGuardedEntries = 1'000;

  struct Limit {
    std::optional<double> fraction;      // of the entries of the tree, 0 to 1
    std::optional<std::uint64_t> count;  // neither: there is no guard
  };
  // `held_of`: what held_of() was when an earlier run ended.
  DeleteGuard(Limit limit, std::uint64_t held_of) : limit_(limit), held_of_(limit.fraction || limit.count ? held_of : 0) {}

  struct Situation {
    std::int64_t now_ns = 0;
    std::uint64_t entries = 0;  // of the tree, as the target has it
    std::uint64_t backlog = 0;  // changes that are pending and were not looked at
    bool scanning = false;      // a scan of the whole source is under way
  };
  // How many entries the next plan may remove; nullopt: any number.
  std::optional<std::uint64_t> Allowance(const Situation& situation);
  // A plan removes so many.
  void Planned(std::uint64_t count) { under_way_ += count; }
  // So many of them were acknowledged or failed; `removed` of them are gone.
  void Settled(std::int64_t now_ns, std::uint64_t count, std::uint64_t removed);
  // What is under way will be planned anew.
  void Lost() { under_way_ = 0; }
  // A scan of the whole source begins.
  void ScanBegins(std::uint64_t entries) { base_ = entries; }

  // A plan held deletes back.
  void HeldBack(std::int64_t now_ns);
  bool undecided() const { return undecided_; }
  std::int64_t undecided_since_ns() const { return undecided_since_ns_; }
  enum class Verdict { kRelease, kHold };
  // All that may come was looked at, and `held` entries are held back in all.
  Verdict Decide(const Situation& situation, std::uint64_t held);
  // A person lets go what is held. False when nothing is.
  bool Approve();

  // Whether a person is waited for.
  bool holding() const { return held_of_ != 0; }
  // Entries of the tree of which something is held back until a person approves; 0: nothing is. To be kept over restarts.
  std::uint64_t held_of() const { return held_of_; }

 private:
  bool Guards(std::uint64_t entries) const;
  std::uint64_t LimitOf(std::uint64_t entries) const;
  std::uint64_t Spent(std::int64_t now_ns);

  struct Done {
    std::int64_t at_ns;
    std::uint64_t count;
  };
  static constexpr std::int64_t kGrainNs = 1'000'000'000;  // what is done within that time is one entry of done_

  const Limit limit_;
  std::uint64_t held_of_;
  bool undecided_ = false;
  std::int64_t undecided_since_ns_ = 0;
  bool looks_ahead_ = true;  // off while what was released goes through, until nothing much is pending
  std::uint64_t base_ = 0;   // entries when the scan of the whole source began
  std::uint64_t under_way_ = 0;
  std::deque<Done> done_;    // of the window, kWindowNs / kGrainNs entries at most
};

}  // namespace fanmirror::plan
