#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cli/commands.h"
#include "cli/exit.h"
#include "cli/mirror_arguments.h"
#include "cli/mirror_run.h"
#include "watch/mount.h"

namespace fanmirror::cli {
namespace {

using Selector = MirrorArguments::Selector;

int RunMirror(const MirrorArguments& arguments) {
  if (const auto refused = RefuseUnlessRoot("mirror")) return *refused;
  if (const absl::Status host = watch::CheckHost(); !host.ok()) return Fail(kUsage, host);
  auto config = ConfigOf(arguments);
  if (!config.ok()) return Fail(kUsage, config.status());
  if (const auto mount = watch::ResolveMount(config->jobs.front().source); !mount.ok()) {
    return Fail(kUsage, mount.status());
  }
  return MirrorRun(*std::move(config), arguments.once).Run();
}

// The selectors in the order in which they stand on the command line, across their options.
std::vector<Selector> SelectorsInOrder(const CLI::App& command) {
  const std::map<std::string, Selector::Kind> kinds = {{"--exclude", Selector::Kind::kExclude},
                                                       {"--include", Selector::Kind::kInclude},
                                                       {"--filter", Selector::Kind::kFilter},
                                                       {"--exclude-from", Selector::Kind::kExcludeFrom}};
  std::vector<Selector> selectors;
  std::map<std::string, std::size_t> taken;
  for (const CLI::Option* option : command.parse_order()) {
    const auto kind = kinds.find(option->get_name());
    if (kind == kinds.end()) continue;
    const std::vector<std::string>& values = option->results();
    std::size_t& next = taken[kind->first];
    if (next < values.size()) selectors.push_back({kind->second, values[next++]});
  }
  return selectors;
}

void AddSelectors(CLI::App* command) {
  const std::pair<const char*, const char*> options[] = {
      {"--exclude", "Leave out what matches this rsync pattern"},
      {"--include", "Keep what matches, before later excludes"},
      {"--filter", "An rsync filter rule, \"- P\" or \"+ P\""},
      {"--exclude-from", "Patterns from a file, one a line"}};
  for (const auto& [name, description] : options) {
    command->add_option(name, description)
        ->type_size(1)
        ->expected(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
        ->type_name("P");
  }
}

}  // namespace

void AddMirror(CLI::App& app, int* exit_code) {
  CLI::App* command =
      app.add_subcommand("mirror", "Mirror one directory, live, without a configuration file");
  auto arguments = std::make_shared<MirrorArguments>();
  command->add_option("SRC", arguments->source, "The directory to mirror")->required();
  command->add_option("DST", arguments->destination, "DIR or [USER@]HOST:DIR")->required();
  command->add_flag("--once", arguments->once, "End when all is durable on the target");
  AddSelectors(command);
  command->add_option("--delete", arguments->delete_policy, "true, false, startup or running")
      ->capture_default_str();
  command->add_option("--settle", arguments->settle, "Quiet time before a change is read")
      ->capture_default_str();
  command->add_option("--max-delay", arguments->max_delay, "But never wait longer")->capture_default_str();
  command->add_option("--identity", arguments->identity, "SSH private key")->type_name("FILE");
  command->add_option("--known-hosts", arguments->known_hosts, "SSH host keys")->type_name("FILE");
  command->add_option("--port", arguments->port, "SSH port")->check(CLI::Range(1, 65535));
  command->add_option("--receiver", arguments->receiver, "The command on the far side")
      ->capture_default_str();
  command->add_flag("--adopt", arguments->adopt, "Take over a target directory that already holds data");
  command->add_option("--bwlimit", arguments->bandwidth_limit, "At most so much, as 50MiB/s")
      ->type_name("RATE");
  command->add_option("--state-dir", arguments->state_dir, "Where to remember what the target holds")
      ->type_name("DIR");
  command->add_option("--socket", arguments->socket, "The control socket; default: in the state directory")
      ->type_name("PATH");
  command->callback([command, arguments, exit_code] {
    arguments->selectors = SelectorsInOrder(*command);
    *exit_code = RunMirror(*arguments);
  });
}

}  // namespace fanmirror::cli
