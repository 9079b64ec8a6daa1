#include <cstdio>
#include <memory>
#include <string>

#include "cli/commands.h"
#include "cli/exit.h"
#include "config/config.h"
#include "daemon/control_client.h"

namespace fanmirror::cli {
namespace {

struct ChoiceArguments {
  daemon::Request request;
  std::string socket = config::Config{}.control_socket;
  const char* done = "";
};

int RunChoice(const ChoiceArguments& arguments) {
  auto client = daemon::ControlClient::Connect(arguments.socket);
  if (!client.ok()) return Fail(kFailed, client.status());
  const auto answer = client->Ask(arguments.request);
  if (!answer.ok()) return Fail(kFailed, answer.status());
  std::puts(arguments.done);
  return kDone;
}

void AddChoice(CLI::App* command, daemon::Request::Command what, const char* done, int* exit_code) {
  auto arguments = std::make_shared<ChoiceArguments>();
  arguments->request.command = what;
  arguments->done = done;
  command->add_option("JOB", arguments->request.choice.job, "The job")->required();
  command->add_option("--target", arguments->request.choice.target, "Only the target of this name")->type_name("T");
  command->add_option("--socket", arguments->socket, "The daemon's control socket")
      ->capture_default_str()
      ->type_name("PATH");
  command->callback([arguments, exit_code] { *exit_code = RunChoice(*arguments); });
}

}  // namespace

void AddApprove(CLI::App& app, int* exit_code) {
  AddChoice(app.add_subcommand("approve", "Let a job make the deletes that it holds back as too many"),
            daemon::Request::Command::kApprove, "approved", exit_code);
}

void AddAdopt(CLI::App& app, int* exit_code) {
  AddChoice(app.add_subcommand("adopt", "Mirror what is at a job's source now, and take over what its targets hold"),
            daemon::Request::Command::kAdopt, "adopted; see status", exit_code);
}

}  // namespace fanmirror::cli
