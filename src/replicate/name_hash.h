#pragma once

#include <cstdint>
#include <string_view>

#include "absl/hash/hash.h"

namespace fanmirror::replicate {

// For sets of the names of a directory, which may be many: what is not in such a set of hashes was not seen. The same for the
// life of the process.
inline std::uint64_t HashName(std::string_view name) { return absl::HashOf(name); }

}  // namespace fanmirror::replicate
