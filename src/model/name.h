#pragma once

#include <string>
#include <utility>

#include "model/file_id.h"

namespace fanmirror::model {

// A name: an entry of a directory, which stays the same however the directory itself is moved.
struct Name {
  FileId dir;
  std::string name;  // one component, never empty, no '/', any other bytes
  friend bool operator==(const Name&, const Name&) = default;
  friend auto operator<=>(const Name&, const Name&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const Name& n) {
    return H::combine(std::move(h), n.dir, n.name);
  }
};

}  // namespace fanmirror::model
