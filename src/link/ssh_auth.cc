#include "link/ssh_auth.h"

#include <poll.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "link/link.h"
#include "model/failure.h"

namespace fanmirror::link {
namespace {

using model::Failure;
using model::Reaction;

// What one session has tried so far.
struct Attempts {
  std::vector<std::string> tried;  // each with its outcome
  std::string key_to_copy;         // a key file that the server could be given; empty: none is known
  std::string encrypted;           // a key file that only an agent could open
};

bool HasAgent() { return std::getenv("SSH_AUTH_SOCK") != nullptr; }

std::string MethodsText(int methods) {
  std::vector<std::string> names;
  if (methods & SSH_AUTH_METHOD_PUBLICKEY) names.push_back("publickey");
  if (methods & SSH_AUTH_METHOD_PASSWORD) names.push_back("password");
  if (methods & SSH_AUTH_METHOD_INTERACTIVE) names.push_back("keyboard-interactive");
  if (methods & SSH_AUTH_METHOD_HOSTBASED) names.push_back("hostbased");
  if (methods & SSH_AUTH_METHOD_GSSAPI_MIC) names.push_back("gssapi-with-mic");
  return names.empty() ? "nothing that it names" : absl::StrJoin(names, ", ");
}

absl::Status Lost(ssh_session session, const Destination& destination) {
  return Failure(Reaction::kReconnect, absl::StrCat("ssh: ", destination.ToString(),
                                                    " ended the connection at the login: ", ErrorText(session),
                                                    "; its sshd log says why"));
}

absl::Status Refused(ssh_session session, const Destination& destination, const Attempts& attempts) {
  std::string message = absl::StrCat("ssh: ", destination.ToString(), " let no key in; tried: ",
                                     attempts.tried.empty() ? "none, for none was found"
                                                            : absl::StrJoin(attempts.tried, ", "),
                                     "; it accepts: ", MethodsText(ssh_userauth_list(session, nullptr)));
  if (!attempts.encrypted.empty()) {
    absl::StrAppend(&message, "; for the encrypted key run: ssh-add ", ShellQuote(attempts.encrypted),
                    " (with SSH_AUTH_SOCK in our environment), or use a key without passphrase");
  }
  const std::string key = attempts.key_to_copy.empty() ? "KEY.pub" : ShellQuote(attempts.key_to_copy + ".pub");
  absl::StrAppend(&message, "; to let a key in, run: ssh-copy-id -i ", key, " -p ", destination.port, " ",
                  ShellQuote(destination.user + "@" + destination.alias));
  return Failure(Reaction::kReconnect, message);
}

int NoPassphrase(const char*, char*, std::size_t, int, int, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

// SSH_AUTH_DENIED also for a key that cannot be used.
int TryKeyFile(ssh_session session, const std::string& file, Attempts* attempts) {
  const auto note = [&](std::string_view outcome) {
    attempts->tried.push_back(absl::StrCat(model::QuotePath(file), " (", std::string(outcome), ")"));
  };
  if (::access(file.c_str(), R_OK) != 0) {
    note(::strerror(errno));
    return SSH_AUTH_DENIED;
  }
  ssh_key key = nullptr;
  bool encrypted = false;
  if (ssh_pki_import_privkey_file(file.c_str(), nullptr, NoPassphrase, &encrypted, &key) != SSH_OK) {
    note(encrypted ? "encrypted" : "not a private key that libssh can read");
    if (encrypted) attempts->encrypted = file;
    return SSH_AUTH_DENIED;
  }
  const int result = ssh_userauth_publickey(session, nullptr, key);
  ssh_key_free(key);
  note(result == SSH_AUTH_PARTIAL ? "accepted, but more is wanted" : "refused");
  attempts->key_to_copy = file;
  return result;
}

int TryGivenFiles(ssh_session session, const std::vector<std::string>& files, Attempts* attempts) {
  for (const std::string& file : files) {
    const int result = TryKeyFile(session, file, attempts);
    if (result == SSH_AUTH_SUCCESS || result == SSH_AUTH_ERROR) return result;
  }
  if (attempts->encrypted.empty() || !HasAgent()) return SSH_AUTH_DENIED;
  attempts->tried.push_back("the agent's keys (refused)");
  return ssh_userauth_agent(session, nullptr);
}

struct TryOfUser {
  ssh_session session;
  std::vector<std::string> files;  // that were tried, in order
  std::string encrypted;           // the last one that was

  std::string CurrentFile() const {
    char* file = nullptr;
    if (ssh_userauth_publickey_auto_get_current_identity(session, &file) != SSH_OK || file == nullptr) return "";
    std::string result(file);
    ssh_string_free_char(file);
    return result;
  }
  void Note(const std::string& file) {
    if (!file.empty() && std::find(files.begin(), files.end(), file) == files.end()) files.push_back(file);
  }
};

// libssh asks for the passphrase of the file that it tries.
int NotePassphraseWanted(const char*, char*, std::size_t, int, int, void* try_of_user) {
  auto* state = static_cast<TryOfUser*>(try_of_user);
  state->encrypted = state->CurrentFile();
  state->Note(state->encrypted);
  return -1;
}

// The agent, then the files that libssh knows of. Non-blocking, because only between its steps libssh tells which
// file it tries; its own waits are bounded by whoever shuts the socket down.
int TryAllOfUser(ssh_session session, int socket_fd, Attempts* attempts) {
  if (HasAgent()) attempts->tried.push_back("the agent's keys (refused)");
  TryOfUser state{session, {}, ""};
  ssh_callbacks_struct callbacks{};
  callbacks.userdata = &state;
  callbacks.auth_function = NotePassphraseWanted;
  const ScopedCallbacks scoped(session, callbacks);
  ssh_set_blocking(session, 0);
  int result;
  while ((result = ssh_userauth_publickey_auto(session, nullptr, nullptr)) == SSH_AUTH_AGAIN) {
    state.Note(state.CurrentFile());
    const bool pending = (ssh_get_poll_flags(session) & SSH_WRITE_PENDING) != 0;
    pollfd ready{socket_fd, static_cast<short>(pending ? POLLIN | POLLOUT : POLLIN), 0};
    ::poll(&ready, 1, -1);
  }
  ssh_set_blocking(session, 1);
  for (const std::string& file : state.files) {
    attempts->tried.push_back(
        absl::StrCat(model::QuotePath(file), file == state.encrypted ? " (encrypted)" : " (refused)"));
    attempts->key_to_copy = file;
  }
  attempts->encrypted = state.encrypted;
  return result;
}

}  // namespace

absl::Status Authenticate(ssh_session session, const SshOptions& options, const Destination& destination,
                          int socket_fd) {
  Attempts attempts;
  // Also how the server is asked what it accepts.
  int result = ssh_userauth_none(session, nullptr);
  if (result != SSH_AUTH_SUCCESS && result != SSH_AUTH_ERROR) {
    result = options.identity_files.empty() ? TryAllOfUser(session, socket_fd, &attempts)
                                            : TryGivenFiles(session, options.identity_files, &attempts);
  }
  if (result == SSH_AUTH_SUCCESS) return absl::OkStatus();
  if (result == SSH_AUTH_ERROR && ssh_is_connected(session) == 0) return Lost(session, destination);
  return Refused(session, destination, attempts);
}

}  // namespace fanmirror::link
