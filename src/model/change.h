#pragma once

#include <cstdint>
#include <string>

#include "model/file_id.h"

namespace fanmirror::model {

// Something may differ here: where to look, never what happened.
struct Change {
  enum class Kind : std::uint8_t {
    kName = 1,  // the entry `name` of directory `id` came, went or now means another node
    kNode = 2,  // the content or the metadata of node `id`
    kTree = 3,  // everything below directory `id`: list it and compare
    kLimbo = 4  // node `id` lies in the target's limbo: find out whether it still exists
  };
  Kind kind = Kind::kName;
  FileId id;
  std::string name;      // kName only
  bool content = false;  // kNode, kName: the content may differ even where size and times are equal
  bool startup = false;  // kTree: the scan of a start; kName: found by one; for delete = "startup" | "running"
  friend bool operator==(const Change&, const Change&) = default;
};

}  // namespace fanmirror::model
