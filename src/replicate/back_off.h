#pragma once

#include <cstdint>

#include "model/failure.h"

namespace fanmirror::replicate {

// How long what failed waits until it is tried again, in nanoseconds. The pauses double with each failure in a row, up to a
// limit; how long the first and the last one are depends on what may cure it.
//   kLookAgain      50 ms .. 30 s    another look may be all that it takes; or what fails is a directory above
//   kSkipAndReport  10 s .. 300 s    a person has to change the file or the target
//   all others      1 s .. 30 s
// `failures`: of that change before this one, in a row.
std::int64_t BackOff(model::Reaction reaction, int failures);

}  // namespace fanmirror::replicate
