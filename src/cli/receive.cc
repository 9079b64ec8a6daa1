#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <memory>
#include <string>

#include "apply/receiver.h"
#include "cli/commands.h"
#include "cli/exit.h"

namespace fanmirror::cli {
namespace {

int RunReceive(const std::string& root) {
  // The daemon blocks signals before it starts a local receiver, and the mask is inherited.
  sigset_t none;
  ::sigemptyset(&none);
  ::pthread_sigmask(SIG_SETMASK, &none, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  // Ctrl-C on a terminal reaches a local receiver too; it ends in order when its input does.
  if (::isatty(STDIN_FILENO) == 0) std::signal(SIGINT, SIG_IGN);

  apply::ReceiverOptions options;
  options.root = root;
  options.say = [](const std::string& line) { std::fprintf(stderr, "fanmirror: %s\n", line.c_str()); };
  const absl::Status status = apply::RunReceiver(options);
  return status.ok() ? kDone : Fail(kFailed, status);
}

}  // namespace

void AddReceive(CLI::App& app, int* exit_code) {
  CLI::App* command =
      app.add_subcommand("receive", "The far side, started by SSH; usable in a forced command");
  auto root = std::make_shared<std::string>();
  // In a forced command that appends what the other side asked for, the administrator's root is the first.
  command->add_option("--root", *root, "The directory that is kept equal to the source")
      ->required()
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeFirst)
      ->type_name("DIR");
  command->allow_extras();
  command->callback([root, exit_code] { *exit_code = RunReceive(*root); });
}

}  // namespace fanmirror::cli
