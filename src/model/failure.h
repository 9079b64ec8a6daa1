#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace fanmirror::model {

// What happens next after a failure. The closed set that every stage decides by; never the errno itself.
enum class Reaction {
  kRetry = 1,          // the same again later, with back-off (disk full, I/O error)
  kReconnect = 2,      // the connection or the far process is lost: connect again, with back-off
  kLookAgain = 3,      // source or target is not as we believed: ask both, then plan anew
  kSkipAndReport = 4,  // this file cannot be replicated as it is: report it, go on with the others, retry seldom
  kHaltJob = 5,        // going on could do harm or is pointless until a person acts
};

// "retry", "reconnect", ... for logs and JSON.
std::string_view ReactionName(Reaction reaction);

// `message` is one line for people: what happened, where, why, what to do.
absl::Status Failure(Reaction reaction, std::string_view message);

// "CALL PATH: strerror(errno_value); cure". `path` is quoted here. `cure` may be empty.
absl::Status SystemFailure(Reaction reaction, std::string_view call, std::string_view path, int errno_value,
                           std::string_view cure = "");

// The reaction a status was made with; kRetry for one that was made elsewhere. Not for OK.
Reaction ReactionOf(const absl::Status& status);

// The errno a SystemFailure was made with, else 0.
int ErrnoOf(const absl::Status& status);

// A path as a message shows it: in single quotes; control characters, quotes and invalid UTF-8 as \xNN, so that it
// is always one line; shortened in the middle beyond 300 bytes.
std::string QuotePath(std::string_view path);

}  // namespace fanmirror::model
