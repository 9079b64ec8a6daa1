#include "daemon/connect.h"

#include <unistd.h>

#include <array>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace fanmirror::daemon {
namespace {

// A link to a child of ours whose events the watcher drops for as long as the link lives.
class IgnoredChildLink : public link::Link {
 public:
  IgnoredChildLink(std::unique_ptr<link::Link> inner, watch::Watcher* watcher, int pid)
      : inner_(std::move(inner)), watcher_(watcher), pid_(pid) {
    watcher_->IgnoreProcess(pid_);
  }
  ~IgnoredChildLink() override {
    // Before the child is reaped: once it is, its number may belong to a process whose changes count.
    watcher_->UnignoreProcess(pid_);
    inner_.reset();
  }

  absl::StatusOr<std::size_t> Write(absl::Span<const char> data) override { return inner_->Write(data); }
  absl::StatusOr<std::size_t> Read(absl::Span<char> buffer) override { return inner_->Read(buffer); }
  bool WritePending() const override { return inner_->WritePending(); }
  absl::StatusOr<Ready> Wait(bool want_write, int wakeup_fd, absl::Duration timeout) override {
    return inner_->Wait(want_write, wakeup_fd, timeout);
  }

 private:
  std::unique_ptr<link::Link> inner_;
  watch::Watcher* watcher_;
  int pid_;
};

absl::StatusOr<std::unique_ptr<link::Link>> StartReceiver(const config::Target& target,
                                                          watch::Watcher* watcher,
                                                          link::StderrSink stderr_sink) {
  int pid = 0;
  auto link =
      link::StartLocal({OwnProgram(), "receive", "--root", target.path}, std::move(stderr_sink), &pid);
  if (!link.ok() || watcher == nullptr) return link;
  return std::make_unique<IgnoredChildLink>(*std::move(link), watcher, pid);
}

}  // namespace

link::SshOptions SshOptionsOf(const config::Target& target, std::string command) {
  link::SshOptions options;
  options.host = target.host;
  options.user = target.user;
  options.port = target.port;
  if (!target.identity_file.empty()) options.identity_files.push_back(target.identity_file);
  options.known_hosts = target.known_hosts;
  options.command = std::move(command);
  return options;
}

Connect ConnectTo(const config::Target& target, watch::Watcher* watcher) {
  if (target.host.empty()) {
    return [target, watcher](link::StderrSink stderr_sink, int) {
      return StartReceiver(target, watcher, std::move(stderr_sink));
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
