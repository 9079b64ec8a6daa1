#include "link/proxy.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "model/failure.h"

namespace fanmirror::link {
namespace {

using model::Reaction;

// How libssh spells a ProxyJump line as a command, up to here and around this.
constexpr std::string_view kJumpCommand = "ssh ";
constexpr std::string_view kJumpForward = " -W '[%h]:%p' ";

bool IsJump(std::string_view command) {
  return command.substr(0, kJumpCommand.size()) == kJumpCommand &&
         command.find(kJumpForward) != std::string_view::npos;
}

// `%` stands for itself in an option that ssh(1) or we expand.
std::string EscapePercent(std::string_view text) {
  std::string escaped;
  for (const char c : text) escaped.append(c == '%' ? 2 : 1, c);
  return escaped;
}

// What our options say holds for the host between as well. Expanded once by us and once by ssh(1).
std::string JumpOptions(const SshOptions& options) {
  std::string result = absl::StrCat(
      " -o BatchMode=yes -o ConnectTimeout=", std::max<long>(1, absl::ToInt64Seconds(options.connect_timeout)));
  if (!options.ssh_directory.empty()) {
    const std::string config = options.ssh_directory + "/config";
    const std::string known_hosts = options.ssh_directory + "/known_hosts";
    if (::access(config.c_str(), R_OK) == 0) absl::StrAppend(&result, " -F ", EscapePercent(ShellQuote(config)));
    if (options.known_hosts.empty() && ::access(known_hosts.c_str(), R_OK) == 0) {
      absl::StrAppend(&result, " -o ",
                      EscapePercent(ShellQuote("UserKnownHostsFile=\"" + EscapePercent(known_hosts) + "\"")));
    }
  }
  if (!options.known_hosts.empty()) {
    absl::StrAppend(&result, " -o ",
                    EscapePercent(ShellQuote("UserKnownHostsFile=\"" + EscapePercent(options.known_hosts) + "\"")));
  }
  for (const std::string& file : options.identity_files) {
    absl::StrAppend(&result, " -i ", EscapePercent(ShellQuote(EscapePercent(file))));
  }
  if (!options.identity_files.empty()) absl::StrAppend(&result, " -o IdentitiesOnly=yes");
  return result;
}

std::string CommandToExpand(const SshOptions& options, const Destination& destination) {
  std::string command = destination.proxy_command;
  if (IsJump(command)) command.insert(kJumpCommand.size() - 1, JumpOptions(options));
  return command;
}

}  // namespace

absl::StatusOr<std::string> ExpandProxyCommand(const SshOptions& options, const Destination& destination) {
  const std::string command = CommandToExpand(options, destination);
  std::string result;
  for (std::size_t i = 0; i < command.size(); ++i) {
    if (command[i] != '%') {
      result += command[i];
      continue;
    }
    const char token = ++i < command.size() ? command[i] : '\0';
    switch (token) {
      case '%':
        result += '%';
        break;
      case 'h':
        result += destination.host;
        break;
      case 'n':
        result += destination.alias;
        break;
      case 'p':
        absl::StrAppend(&result, destination.port);
        break;
      case 'r':
        result += destination.user;
        break;
      default:
        return model::Failure(Reaction::kReconnect,
                              absl::StrCat("ProxyCommand ", model::QuotePath(destination.proxy_command),
                                           ": only %h, %n, %p, %r and %% are known; write the value itself"));
    }
  }
  return result;
}

absl::StatusOr<StartedProxy> StartProxy(const SshOptions& options, const Destination& destination) {
  auto command = ExpandProxyCommand(options, destination);
  if (!command.ok()) return command.status();
  std::array<int, 2> sockets;
  std::array<int, 2> errors;
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()) != 0) {
    return model::SystemFailure(Reaction::kReconnect, "socketpair", "", errno, "raise the limit of open files");
  }
  os::UniqueFd ours(sockets[0]);
  const os::UniqueFd theirs(sockets[1]);
  if (::pipe2(errors.data(), O_CLOEXEC) != 0) {
    return model::SystemFailure(Reaction::kReconnect, "pipe2", "", errno, "raise the limit of open files");
  }
  os::UniqueFd errors_read(errors[0]);
  const os::UniqueFd errors_write(errors[1]);
  ::fcntl(errors_read.get(), F_SETFL, O_NONBLOCK);
  // With exec the command gets our signals itself.
  const std::string script = command->substr(0, 5) == "exec " ? *command : "exec " + *command;
  auto child = Child::Start({"/bin/sh", "-c", script}, theirs.get(), theirs.get(), errors_write.get());
  if (!child.ok()) return child.status();
  return StartedProxy{{*std::move(child), std::move(errors_read)}, std::move(ours)};
}

}  // namespace fanmirror::link
