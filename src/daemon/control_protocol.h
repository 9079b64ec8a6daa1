#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "daemon/barrier.h"
#include "daemon/verification.h"
#include "nlohmann/json.hpp"

// The control socket speaks lines: one JSON object a request, one JSON object an answer.
//   {"command":"status"}                                   -> {"ok":true,"status":{...}}
//   {"command":"status","follow":true}                     -> the same once a second, until the client closes
//   {"command":"wait","job":"a","target":"b","timeout_seconds":60}  -> {"ok":true} when it is durable
//   {"command":"approve","job":"a","target":"b"}           -> {"ok":true}; "target" may be left out: all of the job
//   {"command":"adopt","job":"a","target":"b"}             -> the same
//   {"command":"verify","job":"a","target":"b","content":true,"repair":true}
//       -> {"ok":true,"difference":{...}}, {"ok":true,"progress":{...}} and {"ok":true,"verified":{...}} as it goes (see
//          RunVerification), at last {"ok":true}; "target", "content" and "repair" may be left out
// Of "wait", "job", "target" and "timeout_seconds" may be left out. Any failure: {"ok":false,"error":"one line"}.
namespace fanmirror::daemon {

// Bytes of a request line; a longer one is answered with an error and the connection closed.
inline constexpr std::size_t kMaxRequestBytes = std::size_t{16} << 10;
// What a barrier may ask for at most: a client that wants longer asks again.
inline constexpr absl::Duration kMaxTimeout = absl::Hours(24 * 365);

struct Request {
  enum class Command { kStatus, kWait, kVerify, kApprove, kAdopt };
  Command command = Command::kStatus;
  bool follow = false;     // kStatus
  BarrierRequest barrier;  // kWait
  VerifyRequest verify;    // kVerify; its job is not empty
  TargetChoice choice;     // kApprove, kAdopt; its job is not empty
};

// `line` without its newline; any bytes.
absl::StatusOr<Request> ParseRequest(std::string_view line);
std::string FormatRequest(const Request& request);

// Answers, without newline.
std::string FormatStatusAnswer(nlohmann::json status);
std::string FormatAnswer(const absl::Status& result);
std::string FormatPartialAnswer(nlohmann::json part);

// The client's side: the answer as it came, or the error that it holds.
absl::StatusOr<nlohmann::json> ParseAnswer(std::string_view line);

}  // namespace fanmirror::daemon
