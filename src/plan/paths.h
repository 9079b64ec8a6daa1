#pragma once

#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "catalogue/view.h"
#include "model/name.h"

namespace fanmirror::plan {

// Where on the target nodes without a name wait for a new one.
inline constexpr const char* kLimboPath = ".fanmirror/limbo";

// Paths of the target as a view has it, relative to the target's root.
class Paths {
 public:
  // The view outlives this. Paths are remembered: call DirectoryMoved after each effect that moves or drops one.
  Paths(const catalogue::View* view, const model::FileId& root) : view_(view), root_(root) {}

  // "" for the root; nullopt when the directory has no place on the target.
  std::optional<std::string> OfDirectory(const model::FileId& dir);
  std::optional<std::string> OfName(const model::Name& name);
  // Whether `dir` is `ancestor` or lies somewhere below it.
  bool IsWithin(model::FileId dir, const model::FileId& ancestor) const;
  void DirectoryMoved() { known_.clear(); }

 private:
  static constexpr int kMaxDepth = 1'000'000;  // a cycle in a broken catalogue ends here
  const catalogue::View* view_;
  model::FileId root_;
  absl::flat_hash_map<model::FileId, std::string> known_;
};

}  // namespace fanmirror::plan
