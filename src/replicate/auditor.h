#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "catalogue/view.h"
#include "model/change.h"
#include "os/tree.h"
#include "scan/walk.h"

namespace fanmirror::replicate {

// The background comparison of a source with a catalogue, for what no event told: stores through a mapping that is never
// unmapped, records that are racily clean, writers that the kernel does not report. Nothing is known to have changed, so it
// holds no barrier and takes its time. What differs is looked at again later, because its event may only be on its way.
// Used by the planning thread.
class Auditor {
 public:
  // Entries looked at in a second: a million takes some minutes, and costs a few percent of one processor.
  static constexpr std::int64_t kNamesPerSecond = 5'000;
  // Between two steps. Each is a pause of the planning thread.
  static constexpr std::int64_t kStepNs = 50'000'000;
  // What differs is looked at again after so long: events are noted within much less.
  static constexpr std::int64_t kSecondLookNs = 1'000'000'000;
  // What waits for its second look at most; the walk rests meanwhile.
  static constexpr std::size_t kMaxWaiting = 10'000;

  struct Options {
    const os::Tree* tree = nullptr;
    const scan::Selection* selection = nullptr;
    const catalogue::View* expected = nullptr;
    std::int64_t interval_ns = 0;  // 0: no audits
    std::string record;            // path of a file: its mtime is when the last audit was through
    std::function<bool(const model::Change&)> pending;
  };
  explicit Auditor(Options options);

  // When the next step is due, of os::BoottimeNs(); INT64_MAX: there are no audits.
  std::int64_t NextStepNs() const { return next_step_ns_; }
  // Does a step if one is due, and gives what no event told: changes to be noted.
  std::vector<model::Change> Step(std::int64_t now_ns);
  // Everything was compared by another way, which found so many differences that no event had told.
  void Passed(std::uint64_t found);

  std::uint64_t started() const { return started_; }
  std::uint64_t scanned() const { return scanned_; }     // entries
  std::uint64_t found() const { return found_; }         // differences that no event told, since the start
  std::int64_t last_unix_s() const { return last_unix_s_; }  // when the last one was through; 0: never

 private:
  struct Waiting {
    model::Name name;
    model::FileId id;  // empty: gone from the source
    std::int64_t due_ns = 0;
  };
  void Schedule(std::int64_t now_ns);
  void Walk(std::int64_t now_ns);
  void Await(const model::Name& name, const model::FileId& id, std::int64_t now_ns);
  void Judge(const Waiting& waiting, std::vector<model::Change>* changes);
  enum class Difference { kNone, kRacy, kDiffers };
  Difference Compare(const model::Name& name, const model::Node& node) const;

  const Options options_;
  std::int64_t next_step_ns_ = 0;
  std::int64_t last_unix_s_ = 0;
  std::unique_ptr<scan::Walk> walk_;  // none: between audits
  absl::flat_hash_map<model::FileId, absl::flat_hash_set<std::uint64_t>> seen_;  // of directories not listed whole yet
  std::deque<Waiting> waiting_;       // by due_ns
  std::uint64_t started_ = 0;
  std::uint64_t scanned_ = 0;
  std::uint64_t found_ = 0;
};

}  // namespace fanmirror::replicate
