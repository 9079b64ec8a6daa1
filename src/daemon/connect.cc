#include "daemon/connect.h"

#include <unistd.h>

#include <array>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace fanmirror::daemon {
link::SshOptions SshOptionsOf(const config::Target& target, std::string command) {
  link::SshOptions options;
  options.host = target.host;
  options.user = target.user;
  options.port = target.port;
  if (!target.identity_file.empty()) options.identity_files.push_back(target.identity_file);
  options.known_hosts = target.known_hosts;
  options.peer_lost_after = target.timeout;
  options.command = std::move(command);
  return options;
}

Connect ConnectTo(const config::Target& target) {
  if (target.host.empty()) {
    return [target](link::StderrSink stderr_sink, int) {
      return link::StartLocal({OwnProgram(), "receive", "--root", target.path}, std::move(stderr_sink));
    };
  }
  const auto options =
      SshOptionsOf(target, absl::StrCat(target.receiver, " receive --root ", link::ShellQuote(target.path)));
  return [options](link::StderrSink stderr_sink, int wakeup_fd) {
    return link::ConnectSsh(options, std::move(stderr_sink), wakeup_fd);
  };
}

std::string OwnProgram() {
  constexpr char kSelf[] = "/proc/self/exe";
  std::array<char, 4096> path{};
  const ssize_t length = ::readlink(kSelf, path.data(), path.size());
  if (length <= 0 || length == static_cast<ssize_t>(path.size())) return kSelf;
  std::string name(path.data(), static_cast<std::size_t>(length));
  // A receiver of the same version as we are, not the file's new one: the kernel still reaches it by this
  // link.
  return absl::EndsWith(name, " (deleted)") ? kSelf : name;
}

}  // namespace fanmirror::daemon
