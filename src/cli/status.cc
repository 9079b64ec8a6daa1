#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>

#include "cli/commands.h"
#include "cli/exit.h"
#include "cli/status_table.h"
#include "config/config.h"
#include "daemon/control_client.h"

namespace fanmirror::cli {
namespace {

struct StatusArguments {
  bool json = false;
  bool follow = false;
  std::string socket = config::Config{}.control_socket;
};

// False when nobody reads stdout any more.
bool Show(const nlohmann::json& status, const StatusArguments& arguments) {
  std::string text;
  if (arguments.json) {
    text = status.dump(arguments.follow ? -1 : 2) + "\n";
  } else {
    const bool redraw = arguments.follow && ::isatty(STDOUT_FILENO) != 0;
    text = (redraw ? "\x1b[H\x1b[J" : "") + FormatStatusTable(status);
  }
  return std::fputs(text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0;
}

int RunStatus(const StatusArguments& arguments) {
  auto client = daemon::ControlClient::Connect(arguments.socket);
  if (!client.ok()) return Fail(kFailed, client.status());
  daemon::Request request;
  request.follow = arguments.follow;
  auto answer = client->Ask(request);
  while (answer.ok()) {
    if (!answer->contains("status"))
      return Fail(kFailed, "the daemon's answer holds no status; is it of this version?");
    if (!Show((*answer)["status"], arguments)) return kFailed;
    if (!arguments.follow) return kDone;
    answer = client->NextAnswer();
  }
  return Fail(kFailed, answer.status());
}

}  // namespace

void AddStatus(CLI::App& app, int* exit_code) {
  CLI::App* command =
      app.add_subcommand("status", "Every job and target: state, lag, pending, rates, last error");
  auto arguments = std::make_shared<StatusArguments>();
  command->add_flag("--json", arguments->json, "As JSON, for programs");
  command->add_flag("--follow", arguments->follow, "Again every second, until interrupted");
  command->add_option("--socket", arguments->socket, "The daemon's control socket")
      ->capture_default_str()
      ->type_name("PATH");
  command->callback([arguments, exit_code] { *exit_code = RunStatus(*arguments); });
}

}  // namespace fanmirror::cli
