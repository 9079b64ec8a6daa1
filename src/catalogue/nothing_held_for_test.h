#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "catalogue/view.h"

namespace fanmirror::catalogue {

// A target that holds nothing; effects on top of it (Expected) make it what a test needs.
class NothingHeld : public View {
 public:
  std::optional<Record> Node(const model::FileId&) const override { return std::nullopt; }
  std::optional<model::FileId> Child(const model::Name&) const override { return std::nullopt; }
  std::vector<model::Name> NamesOf(const model::FileId&) const override { return {}; }
  void ForEachChild(const model::FileId&,
                    absl::FunctionRef<bool(const std::string&, const model::FileId&)>) const override {}
};

}  // namespace fanmirror::catalogue
