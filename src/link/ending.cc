#include "link/ending.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "model/failure.h"

namespace fanmirror::link {
namespace {

// Exit statuses of POSIX shells, and of ssh(1) as a proxy.
constexpr int kCommandNotExecutable = 126;
constexpr int kCommandNotFound = 127;

std::string_view CureFor(int exit_status) {
  switch (exit_status) {
    case kCommandNotFound:
      return "; install fanmirror there, or set `receiver` to its full path";
    case kCommandNotExecutable:
      return "; make that file executable there, or set `receiver` to the right path";
    default:
      return "";
  }
}

}  // namespace

int Ending::MillisecondsLeft() const {
  const auto left = kEndingGrace - (Clock::now() - *begun_);
  return static_cast<int>(std::max<long>(0, std::chrono::ceil<std::chrono::milliseconds>(left).count()));
}

absl::Status Ending::ToStatus(std::string_view who, std::string_view last_line) const {
  std::string message(who);
  if (exit_status_) {
    absl::StrAppend(&message, " ended with status ", *exit_status_);
  } else if (signal_) {
    absl::StrAppend(&message, " was killed by signal ", *signal_);
  } else {
    absl::StrAppend(&message, " closed its output");
  }
  if (!last_line.empty()) absl::StrAppend(&message, ": ", std::string(last_line));
  if (exit_status_) absl::StrAppend(&message, std::string(CureFor(*exit_status_)));
  return model::Failure(model::Reaction::kReconnect, message);
}

}  // namespace fanmirror::link
