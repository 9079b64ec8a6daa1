#include <cstdio>
#include <memory>
#include <string>

#include "cli/commands.h"
#include "cli/exit.h"
#include "cli/values.h"
#include "config/config.h"
#include "daemon/control_client.h"

namespace fanmirror::cli {
namespace {

struct WaitArguments {
  daemon::BarrierRequest barrier;
  std::string timeout = "60s";
  std::string socket = config::Config{}.control_socket;
};

int RunWait(WaitArguments arguments) {
  const auto timeout = ParseDuration("--timeout", arguments.timeout);
  if (!timeout.ok()) return Fail(kUsage, timeout.status());
  arguments.barrier.timeout = *timeout;
  auto client = daemon::ControlClient::Connect(arguments.socket);
  if (!client.ok()) return Fail(kFailed, client.status());
  daemon::Request request;
  request.command = daemon::Request::Command::kWait;
  request.barrier = arguments.barrier;
  const auto answer = client->Ask(request);
  if (!answer.ok()) return Fail(kFailed, answer.status());
  std::puts("all that changed before is durable");
  return kDone;
}

}  // namespace

void AddWait(CLI::App& app, int* exit_code) {
  CLI::App* command =
      app.add_subcommand("wait", "Wait until all that changed before the call is durable on the targets");
  auto arguments = std::make_shared<WaitArguments>();
  command->add_option("JOB", arguments->barrier.job, "Only this job's targets");
  command->add_option("--target", arguments->barrier.target, "Only the target of this name")->type_name("T");
  command->add_option("--timeout", arguments->timeout, "Give up after this time")
      ->capture_default_str()
      ->type_name("DURATION");
  command->add_option("--socket", arguments->socket, "The daemon's control socket")
      ->capture_default_str()
      ->type_name("PATH");
  command->callback([arguments, exit_code] { *exit_code = RunWait(*arguments); });
}

}  // namespace fanmirror::cli
