#include "daemon/control_protocol.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "daemon/status.h"
#include "model/failure.h"

namespace fanmirror::daemon {
namespace {

using nlohmann::json;

constexpr char kCommands[] = "status, wait, verify, approve, adopt";

// Of a command that needs a job and perhaps a target; null for the others.
template <typename AnyRequest>  // const or not
auto ChoiceOf(AnyRequest* request) -> decltype(&request->choice) {
  switch (request->command) {
    case Request::Command::kVerify:
      return &request->verify.choice;
    case Request::Command::kApprove:
    case Request::Command::kAdopt:
      return &request->choice;
    case Request::Command::kStatus:
    case Request::Command::kWait:
      break;
  }
  return nullptr;
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
  TargetChoice* const choice = ChoiceOf(request);
  if (key == "command") return absl::OkStatus();
  if (wait && key == "job") return ReadText(value, key, &request->barrier.job);
  if (wait && key == "target") return ReadText(value, key, &request->barrier.target);
  if (wait && key == "timeout_seconds") return ReadTimeout(value, &request->barrier.timeout);
  if (verify && key == "content") return ReadFlag(value, key, &request->verify.content);
  if (verify && key == "repair") return ReadFlag(value, key, &request->verify.repair);
  if (choice != nullptr && key == "job") return ReadText(value, key, &choice->job);
  if (choice != nullptr && key == "target") return ReadText(value, key, &choice->target);
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
  const TargetChoice* const choice = ChoiceOf(&request);
  if (choice != nullptr && choice->job.empty()) return Refusal("this command needs a \"job\"");
  return request;
}

std::string FormatRequest(const Request& request) {
  json object = json::object();
  if (const TargetChoice* const choice = ChoiceOf(&request)) {
    object["job"] = choice->job;
    if (!choice->target.empty()) object["target"] = choice->target;
  }
  switch (request.command) {
    case Request::Command::kStatus:
      object["command"] = "status";
      object["follow"] = request.follow;
      break;
    case Request::Command::kWait:
      object["command"] = "wait";
      object["timeout_seconds"] = absl::ToDoubleSeconds(request.barrier.timeout);
      if (!request.barrier.job.empty()) object["job"] = request.barrier.job;
      if (!request.barrier.target.empty()) object["target"] = request.barrier.target;
      break;
    case Request::Command::kVerify:
      object["command"] = "verify";
      object["content"] = request.verify.content;
      object["repair"] = request.verify.repair;
      break;
    case Request::Command::kApprove:
      object["command"] = "approve";
      break;
    case Request::Command::kAdopt:
      object["command"] = "adopt";
      break;
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
