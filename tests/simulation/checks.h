#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "select/filter.h"
#include "simulation/image.h"
#include "simulation/user.h"

namespace fanmirror::simulation {

// What must be true at every moment. Each finding ends the run.
class Checks {
 public:
  Checks(const User* user, select::Filter filter) : user_(user), filter_(std::move(filter)) {}

  // Of the target as it is: each file holds what some file of the source held, and nothing went that the source kept.
  void Observe(const Image& target);
  // What the target held is no proof of anything any more (power cut, older state).
  void ForgetTarget();
  // Torn reads are simulated: what raced a writer may be a mixture, until it was read again.
  void AllowMixtures() { mixtures_ = true; }

  // The barrier: `source` is what is there when it is set.
  struct Barrier {
    std::uint64_t mark = 0;
    std::uint64_t operation = 0;
    Image source;
  };
  // It fell: all of it that did not change since is on the target's disk.
  void BarrierFell(const Barrier& barrier, const Image& durable);

  // That of an image of the source which belongs to the job.
  Image Selected(const Image& source) const;
  // That of an image of the target which is not the receiver's own.
  static Image WithoutHome(const Image& target);

 private:
  bool Excluded(const std::string& path, bool is_directory) const { return filter_.ExcludesWithParents(path, is_directory); }

  // Whether another node was put at the place of a directory above after that operation.
  bool IsBelowMoved(const std::string& path, std::uint64_t operation) const;

  const User* const user_;
  const select::Filter filter_;
  bool mixtures_ = false;
  // Paths that the target is proved to have, with the operation since which the source has that node there.
  std::map<std::string, std::uint64_t> proved_;
};

}  // namespace fanmirror::simulation
