#pragma once

#include <string>

#include "absl/status/status.h"

namespace fanmirror::catalogue {

// Reads an LMDB data file through, without LMDB and without mapping it: that every page which LMDB would follow lies in the
// file and is of the right kind, that nothing on it points outside, that keys are in order, that counts are right, and that
// no page is used twice or is both used and free. A file that passes cannot lead LMDB astray. It knows what our stores use:
// tables of plain keys and values, no duplicates. The error says where and what, in one line; any bytes are survived.
// Blocks for about as long as reading the file takes. `path` may be missing: then there is nothing wrong.
absl::Status CheckStore(const std::string& path);

}  // namespace fanmirror::catalogue
