#include "daemon/control_protocol.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "daemon/status.h"
#include "model/failure.h"

namespace fanmirror::daemon {
namespace {

using nlohmann::json;

constexpr char kCommands[] = "status, wait, verify, approve, adopt";

// Its choice is a job and perhaps a target.
bool NamesAJob(Request::Command command) {
  return command == Request::Command::kApprove || command == Request::Command::kAdopt;
}

absl::Status Refusal(const std::string& line) {
  return model::Failure(model::Reaction::kSkipAndReport, line);
}

absl::Status ReadText(const json& value, const std::string& key, std::string* out) {
  if (!value.is_string()) return Refusal(absl::StrCat("\"", key, "\" must be a string"));
  *out = value.get<std::string>();
  return absl::OkStatus();
}

absl::Status ReadFlag(const json& value, const std::string& key, bool* out) {
  if (!value.is_boolean()) return Refusal(absl::StrCat("\"", key, "\" must be true or false"));
  *out = value.get<bool>();
  return absl::OkStatus();
}

absl::Status ReadTimeout(const json& value, absl::Duration* out) {
  const double seconds = value.is_number() ? value.get<double>() : -1;
  if (!std::isfinite(seconds) || seconds < 0) {
    return Refusal("\"timeout_seconds\" must be a number that is not negative");
  }
  *out = std::min(absl::Seconds(seconds), kMaxTimeout);
  return absl::OkStatus();
}

absl::Status ReadCommand(const json& value, Request* request) {
  std::string command;
  if (absl::Status status = ReadText(value, "command", &command); !status.ok()) return status;
  if (command == "status") {
    request->command = Request::Command::kStatus;
  } else if (command == "wait") {
    request->command = Request::Command::kWait;
  } else if (command == "verify") {
    request->command = Request::Command::kVerify;
  } else if (command == "approve") {
    request->command = Request::Command::kApprove;
  } else if (command == "adopt") {
    request->command = Request::Command::kAdopt;
  } else {
    return Refusal(absl::StrCat("unknown command ", model::QuotePath(command), "; there are: ", kCommands));
  }
  return absl::OkStatus();
}

absl::Status ReadField(const std::string& key, const json& value, Request* request) {
  const bool wait = request->command == Request::Command::kWait;
  const bool status = request->command == Request::Command::kStatus;
  const bool verify = request->command == Request::Command::kVerify;
  const bool names_a_job = NamesAJob(request->command);
  if (key == "command") return absl::OkStatus();
  if (wait && key == "job") return ReadText(value, key, &request->barrier.job);
  if (wait && key == "target") return ReadText(value, key, &request->barrier.target);
  if (wait && key == "timeout_seconds") return ReadTimeout(value, &request->barrier.timeout);
  if (verify && key == "job") return ReadText(value, key, &request->verify.choice.job);
  if (verify && key == "target") return ReadText(value, key, &request->verify.choice.target);
  if (verify && key == "content") return ReadFlag(value, key, &request->verify.content);
  if (verify && key == "repair") return ReadFlag(value, key, &request->verify.repair);
  if (names_a_job && key == "job") return ReadText(value, key, &request->choice.job);
  if (names_a_job && key == "target") return ReadText(value, key, &request->choice.target);
  if (status && key == "follow") return ReadFlag(value, key, &request->follow);
  return Refusal(absl::StrCat("unknown field ", model::QuotePath(key), " for this command"));
}

}  // namespace

absl::StatusOr<Request> ParseRequest(std::string_view line) {
  const json object = json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return Refusal("a request is one JSON object on one line");
  const auto command = object.find("command");
  if (command == object.end()) return Refusal(absl::StrCat("a request needs a \"command\"; there are: ", kCommands));
  Request request;
  if (absl::Status status = ReadCommand(*command, &request); !status.ok()) return status;
  for (const auto& [key, value] : object.items()) {
    if (absl::Status status = ReadField(key, value, &request); !status.ok()) return status;
  }
  if (NamesAJob(request.command) && request.choice.job.empty()) {
    return Refusal("this command needs a \"job\"");
  }
  if (request.command == Request::Command::kVerify && request.verify.choice.job.empty()) {
    return Refusal("this command needs a \"job\"");
  }
  return request;
}

std::string FormatRequest(const Request& request) {
  json object;
  if (request.command == Request::Command::kStatus) {
    object = {{"command", "status"}, {"follow", request.follow}};
  } else if (NamesAJob(request.command)) {
    const bool adopt = request.command == Request::Command::kAdopt;
    object = {{"command", adopt ? "adopt" : "approve"}, {"job", request.choice.job}};
    if (!request.choice.target.empty()) object["target"] = request.choice.target;
  } else if (request.command == Request::Command::kVerify) {
    object = {{"command", "verify"},
              {"job", request.verify.choice.job},
              {"content", request.verify.content},
              {"repair", request.verify.repair}};
    if (!request.verify.choice.target.empty()) object["target"] = request.verify.choice.target;
  } else {
    object = {{"command", "wait"}, {"timeout_seconds", absl::ToDoubleSeconds(request.barrier.timeout)}};
    if (!request.barrier.job.empty()) object["job"] = request.barrier.job;
    if (!request.barrier.target.empty()) object["target"] = request.barrier.target;
  }
  return Dump(object);
}

std::string FormatStatusAnswer(json status) { return Dump({{"ok", true}, {"status", std::move(status)}}); }

std::string FormatPartialAnswer(json part) {
  part["ok"] = true;
  return Dump(part);
}

std::string FormatAnswer(const absl::Status& result) {
  if (result.ok()) return Dump({{"ok", true}});
  return Dump({{"ok", false}, {"error", std::string(result.message())}});
}

absl::StatusOr<json> ParseAnswer(std::string_view line) {
  json object = json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object() || !object.contains("ok") || !object["ok"].is_boolean()) {
    return Refusal("the daemon's answer is not understood; are both of the same version?");
  }
  if (object["ok"].get<bool>()) return object;
  const auto error = object.find("error");
  return Refusal(error != object.end() && error->is_string() ? error->get<std::string>()
                                                             : "the daemon gave no reason");
}

}  // namespace fanmirror::daemon
