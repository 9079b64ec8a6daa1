#include <cstdio>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "cli/commands.h"
#include "cli/exit.h"
#include "cli/terminal_line.h"
#include "config/config.h"
#include "daemon/control_client.h"
#include "daemon/log.h"

namespace fanmirror::cli {
namespace {

struct VerifyArguments {
  daemon::VerifyRequest verify;
  std::string socket = config::Config{}.control_socket;
};

std::string Text(const nlohmann::json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? daemon::OneLine(it->get<std::string>()) : "?";
}

std::uint64_t Number(const nlohmann::json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_number_unsigned() ? it->get<std::uint64_t>() : 0;
}

std::string DifferenceLine(const nlohmann::json& difference, bool repair, bool with_target) {
  const bool repaired = difference.value("repaired", false);
  return absl::StrCat(with_target ? Text(difference, "target") + ": " : "", Text(difference, "path"), ": ",
                      Text(difference, "what"), !repair ? "" : repaired ? "; repaired" : "; not repaired");
}

std::string CountsLine(const nlohmann::json& counts, const daemon::VerifyRequest& verify) {
  std::string line = absl::StrCat(Text(counts, "target"), ": ", Number(counts, "compared"), " names compared");
  if (verify.content) absl::StrAppend(&line, ", ", Number(counts, "hashed_files"), " files hashed on both sides");
  absl::StrAppend(&line, ", ", Number(counts, "differences"), " differences");
  if (verify.repair) absl::StrAppend(&line, ", ", Number(counts, "repaired"), " repaired");
  if (const auto pending = Number(counts, "pending"); pending > 0) {
    absl::StrAppend(&line, ", ", pending, " that fail to be replicated (see status)");
  }
  if (const auto changing = Number(counts, "changing"); changing > 0) {
    absl::StrAppend(&line, ", ", changing, " that change all the time and are not compared");
  }
  if (const auto left_out = Number(counts, "links_left_out"); left_out > 0) {
    absl::StrAppend(&line, "; ", left_out, " names of hard links were too many to be grouped");
  }
  return line;
}

// Writes what comes until the end. The exit code.
int ShowAnswers(daemon::ControlClient* client, const daemon::VerifyRequest& verify, absl::StatusOr<nlohmann::json> answer) {
  const bool show_progress = TerminalLine::Possible();
  TerminalLine progress;
  bool equal = true;
  for (; answer.ok(); answer = client->NextAnswer()) {
    std::string line;
    if (const auto difference = answer->find("difference"); difference != answer->end()) {
      line = DifferenceLine(*difference, verify.repair, verify.choice.target.empty());
      equal = equal && verify.repair && difference->value("repaired", false);
    } else if (const auto verified = answer->find("verified"); verified != answer->end()) {
      line = CountsLine(*verified, verify);
    } else if (const auto counts = answer->find("progress"); counts != answer->end()) {
      if (show_progress) progress.Draw(CountsLine(*counts, verify));
      continue;
    } else {
      return equal ? kDone : kFailed;
    }
    progress.Clear();
    if (std::fputs((line + "\n").c_str(), stdout) < 0 || std::fflush(stdout) != 0) return kFailed;
  }
  return Fail(kFailed, answer.status());
}

int RunVerify(const VerifyArguments& arguments) {
  auto client = daemon::ControlClient::Connect(arguments.socket);
  if (!client.ok()) return Fail(kFailed, client.status());
  daemon::Request request;
  request.command = daemon::Request::Command::kVerify;
  request.verify = arguments.verify;
  return ShowAnswers(&*client, arguments.verify, client->Ask(request));
}

}  // namespace

void AddVerify(CLI::App& app, int* exit_code) {
  CLI::App* command = app.add_subcommand("verify", "Compare source and targets; a line for each difference");
  auto arguments = std::make_shared<VerifyArguments>();
  command->add_option("JOB", arguments->verify.choice.job, "The job")->required();
  command->add_option("--target", arguments->verify.choice.target, "Only the target of this name")->type_name("T");
  command->add_flag("--content", arguments->verify.content, "Hash the files on both sides, too");
  command->add_flag("--repair", arguments->verify.repair, "Correct what differs on the targets");
  command->add_option("--socket", arguments->socket, "The daemon's control socket")
      ->capture_default_str()
      ->type_name("PATH");
  command->callback([arguments, exit_code] { *exit_code = RunVerify(*arguments); });
}

}  // namespace fanmirror::cli
