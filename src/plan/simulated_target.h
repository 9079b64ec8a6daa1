#pragma once

#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "model/op.h"

namespace fanmirror::plan {

// A filesystem in memory that applies ops as strictly as a receiver does. For tests of the planner.
class SimulatedTarget {
 public:
  struct Node {
    model::NodeType type = model::NodeType::kDirectory;
    std::uint64_t content = 0;   // stands for the content of a file
    std::uint64_t metadata = 0;  // stands for mode, owner, times
    std::map<std::string, std::shared_ptr<Node>> entries;
  };
  SimulatedTarget();

  // `content`, `metadata`: what reading op.node gives. An error says why a receiver would refuse the op.
  absl::Status Apply(const model::Op& op, std::uint64_t content, std::uint64_t metadata);
  const Node& root() const { return *root_; }
  const Node& limbo() const { return *limbo_; }

 private:
  struct Place {
    std::shared_ptr<Node> dir;
    std::string name;
  };
  absl::Status Find(const std::string& path, Place* place) const;
  static bool Contains(const Node& tree, const Node* node);
  absl::Status PutOver(const Place& place, std::shared_ptr<Node> node);
  absl::Status Rename(const model::Op& op, const Place& to);

  std::shared_ptr<Node> root_;
  std::shared_ptr<Node> limbo_;
};

}  // namespace fanmirror::plan
