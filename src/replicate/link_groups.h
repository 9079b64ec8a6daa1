#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "model/name.h"

namespace fanmirror::replicate {

// Whether names are grouped to nodes on the target as they are on the source. Bounded: of more nodes with several names
// than that nothing is concluded.
class LinkGroups {
 public:
  // Nodes, on either side, whose other names are still to come: some 100 MB at most.
  static constexpr std::size_t kMaxNodes = 500'000;

  // A name under which both sides have something.
  struct Member {
    model::Name name;
    std::string path;
    model::FileId source;
    std::uint32_t source_links = 1;
    std::uint64_t target = 0;  // inode
    std::uint32_t target_links = 1;
  };
  // A name seen before that is grouped with `member` on one side and not on the other; nullopt: none.
  struct Other {
    model::Name name;
    std::string path;
  };
  std::optional<Other> Conflict(const Member& member);

  std::uint64_t left_out() const { return left_out_; }  // names of which nothing was concluded

 private:
  struct FromSource {
    std::uint64_t target = 0;
    std::uint32_t left = 0;  // names to come
    Other first;
  };
  struct FromTarget {
    model::FileId source;
    std::uint32_t left = 0;
    Other first;
  };
  absl::flat_hash_map<model::FileId, FromSource> sources_;
  absl::flat_hash_map<std::uint64_t, FromTarget> targets_;
  std::uint64_t left_out_ = 0;
};

}  // namespace fanmirror::replicate
