#include "link/ssh_session.h"

#include <algorithm>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "model/failure.h"

namespace fanmirror::link {
namespace {

using model::Failure;
using model::Reaction;

// libssh prefers chacha20, at two thirds of the speed of AES-GCM in hardware.
constexpr const char* kCiphers =
    "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,aes256-ctr,aes192-ctr,aes128-ctr";

// Whoever bounds libssh's calls from outside is to be first, for it knows what to say.
constexpr absl::Duration kTimeoutSlack = absl::Seconds(5);

// The shell takes host and user as parts of a proxy command: what it would interpret is refused, as ssh(1) does.
bool IsSafeWord(std::string_view word) {
  return !word.empty() && word.front() != '-' && std::all_of(word.begin(), word.end(), [](char c) {
    return static_cast<unsigned char>(c) > ' ' && c != 0x7f &&
           std::string_view("'`\"$\\;&<>|(){}").find(c) == std::string_view::npos;
  });
}

absl::Status CannotSet(ssh_session session, std::string_view what, std::string_view value) {
  return Failure(Reaction::kReconnect,
                 absl::StrCat("ssh: ", std::string(what), " ", model::QuotePath(value), ": ", ErrorText(session)));
}

// A failing option is a value that libssh does not take, or no memory.
class OptionSetter {
 public:
  explicit OptionSetter(ssh_session session) : session_(session) {}
  void Set(ssh_options_e option, std::string_view what, const std::string& value) {
    Check(ssh_options_set(session_, option, value.c_str()), what, value);
  }
  void SetNumber(ssh_options_e option, std::string_view what, long value) {
    Check(ssh_options_set(session_, option, &value), what, absl::StrCat(value));
  }
  void SetInt(ssh_options_e option, std::string_view what, int value) {
    Check(ssh_options_set(session_, option, &value), what, absl::StrCat(value));
  }
  const absl::Status& status() const { return status_; }

 private:
  void Check(int result, std::string_view what, std::string_view value) {
    if (result != SSH_OK && status_.ok()) status_ = CannotSet(session_, what, value);
  }

  ssh_session session_;
  absl::Status status_;
};

// What ~/.ssh/config may change.
absl::Status SetBeforeConfig(ssh_session session, const SshOptions& options) {
  OptionSetter set(session);
  set.Set(SSH_OPTIONS_HOST, "host", options.host);
  if (!options.ssh_directory.empty()) set.Set(SSH_OPTIONS_SSH_DIR, "directory", options.ssh_directory);
  if (options.user) set.Set(SSH_OPTIONS_USER, "user", *options.user);
  set.Set(SSH_OPTIONS_CIPHERS_C_S, "ciphers", kCiphers);
  set.Set(SSH_OPTIONS_CIPHERS_S_C, "ciphers", kCiphers);
  return set.status();
}

// What it may not.
absl::Status SetAfterConfig(ssh_session session, const SshOptions& options) {
  OptionSetter set(session);
  if (options.user) set.Set(SSH_OPTIONS_USER, "user", *options.user);
  if (options.port) set.Set(SSH_OPTIONS_PORT_STR, "port", absl::StrCat(*options.port));
  if (!options.known_hosts.empty()) {
    set.Set(SSH_OPTIONS_KNOWNHOSTS, "known_hosts", absl::StrReplaceAll(options.known_hosts, {{"%", "%%"}}));
  }
  set.SetNumber(SSH_OPTIONS_TIMEOUT, "timeout",
                static_cast<long>(absl::ToInt64Seconds(options.connect_timeout + kTimeoutSlack)));
  // With "no" in the configuration, libssh calls every host key known.
  set.SetInt(SSH_OPTIONS_STRICTHOSTKEYCHECK, "StrictHostKeyChecking", 1);
  // At 54 MB/s it would be the slowest stage.
  set.Set(SSH_OPTIONS_COMPRESSION, "compression", "no");
  return set.status();
}

absl::StatusOr<Destination> ReadDestination(ssh_session session, const SshOptions& options) {
  if (GetOption(session, SSH_OPTIONS_USER).empty()) ssh_options_set(session, SSH_OPTIONS_USER, nullptr);
  Destination destination{.alias = options.host,
                          .host = GetOption(session, SSH_OPTIONS_HOST),
                          .user = GetOption(session, SSH_OPTIONS_USER),
                          .proxy_command = GetOption(session, SSH_OPTIONS_PROXYCOMMAND)};
  ssh_options_get_port(session, &destination.port);
  for (const std::string& word : {destination.host, destination.user}) {
    if (!IsSafeWord(word)) {
      return Failure(Reaction::kReconnect,
                     absl::StrCat("ssh: ", model::QuotePath(word), " is no host or user name; correct `host`"));
    }
  }
  return destination;
}

}  // namespace

std::string Destination::ToString() const {
  return host.find(':') == std::string::npos ? absl::StrCat(user, "@", host, ":", port)
                                             : absl::StrCat(user, "@[", host, "]:", port);
}

absl::StatusOr<PreparedSession> PrepareSession(const SshOptions& options) {
  static const int initialized = ssh_init();
  if (!IsSafeWord(options.host) || (options.user && !IsSafeWord(*options.user))) {
    const std::string shown = options.user ? absl::StrCat(*options.user, "@", options.host) : options.host;
    return Failure(Reaction::kReconnect,
                   absl::StrCat("ssh: ", model::QuotePath(shown), " is no host or user name; correct `host`"));
  }
  Session session(ssh_new());
  if (initialized != SSH_OK || session == nullptr) {
    return Failure(Reaction::kReconnect, "libssh does not start; install libssh-4 again");
  }
  if (absl::Status status = SetBeforeConfig(session.get(), options); !status.ok()) return status;
  if (ssh_options_parse_config(session.get(), nullptr) != SSH_OK) {
    return Failure(Reaction::kReconnect,
                   absl::StrCat("ssh: the configuration of ssh (~/.ssh/config, /etc/ssh/ssh_config): ",
                                ErrorText(session.get()), "; correct it: `ssh -G ", options.host, "` shows the place"));
  }
  if (absl::Status status = SetAfterConfig(session.get(), options); !status.ok()) return status;
  auto destination = ReadDestination(session.get(), options);
  if (!destination.ok()) return destination.status();
  return PreparedSession{std::move(session), *std::move(destination)};
}

ScopedCallbacks::ScopedCallbacks(ssh_session session, const ssh_callbacks_struct& callbacks)
    : session_(session), callbacks_(callbacks) {
  ssh_callbacks_init(&callbacks_);
  ssh_set_callbacks(session_, &callbacks_);
}

ScopedCallbacks::~ScopedCallbacks() {
  static ssh_callbacks_struct none = [] {
    ssh_callbacks_struct empty{};
    ssh_callbacks_init(&empty);
    return empty;
  }();
  ssh_set_callbacks(session_, &none);
}

std::string ErrorText(ssh_session session) {
  std::string text = ssh_get_error(session);
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  std::replace_if(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < ' '; }, ' ');
  // An orderly end has no errno, which libssh then puts into words.
  return text.empty() || text.find("Success") != std::string::npos ? "the other side closed the connection" : text;
}

std::string GetOption(ssh_session session, ssh_options_e option) {
  char* value = nullptr;
  if (ssh_options_get(session, option, &value) != SSH_OK || value == nullptr) return "";
  std::string result(value);
  ssh_string_free_char(value);
  return result;
}

}  // namespace fanmirror::link
