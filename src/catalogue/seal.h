#pragma once

#include <string>

#include "absl/status/status.h"

namespace fanmirror::catalogue {

// A file beside a store that says how it was left: closed in order and with which times and size of its data, or in doubt
// because a write or a read of it failed. Without it the store was not closed (killed, power cut). LMDB has no checksums
// and follows page numbers wherever they lead, so what was not closed in order, or was touched since, is read through
// (CheckStore) before LMDB may look at it. What the seal cannot tell is damage that leaves size and times as they were.
enum class Seal {
  kNone,    // not closed in order, or changed since: read it through
  kClosed,  // as it was closed
  kDoubt,   // not to be used
};

// `dir` of the store; blocks for the disk.
Seal ReadSeal(const std::string& dir);
// Before the store is opened: from now on it counts as not closed.
absl::Status BreakSeal(const std::string& dir);
// After the store was closed. Failing is no loss: it then counts as not closed.
void WriteSeal(const std::string& dir, bool doubt);

// What changes whenever somebody writes to the store's data, or puts another file there; "" when there is none.
std::string DescribeData(const std::string& dir);

}  // namespace fanmirror::catalogue
