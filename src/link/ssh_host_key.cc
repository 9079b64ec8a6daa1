#include "link/ssh_host_key.h"

#include <string>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "link/link.h"
#include "model/failure.h"

namespace fanmirror::link {
namespace {

using model::Failure;
using model::Reaction;

constexpr unsigned kDefaultPort = 22;  // known_hosts names a host without a port for this one only

// "ssh-ed25519 SHA256:...", or empty without a key.
std::string Fingerprint(ssh_session session) {
  ssh_key key = nullptr;
  if (ssh_get_server_publickey(session, &key) != SSH_OK) return "";
  unsigned char* hash = nullptr;
  std::size_t size = 0;
  const absl::Cleanup free_key = [&] {
    ssh_clean_pubkey_hash(&hash);
    ssh_key_free(key);
  };
  if (ssh_get_publickey_hash(key, SSH_PUBLICKEY_HASH_SHA256, &hash, &size) != SSH_OK) return "";
  char* text = ssh_get_fingerprint_hash(SSH_PUBLICKEY_HASH_SHA256, hash, size);
  std::string result = absl::StrCat(ssh_key_type_to_char(ssh_key_type(key)), " ", text == nullptr ? "" : text);
  ssh_string_free_char(text);
  return result;
}

// The line that puts the host's keys into known_hosts. Through a proxy only ssh itself gets there.
std::string LearnLine(const Destination& destination, const std::string& file) {
  if (!destination.proxy_command.empty()) {
    return absl::StrCat("ssh -o UserKnownHostsFile=", ShellQuote(file), " -o StrictHostKeyChecking=ask -p ",
                        destination.port, " ", ShellQuote(destination.user + "@" + destination.alias), " true");
  }
  return absl::StrCat("ssh-keyscan -p ", destination.port, " -H ", ShellQuote(destination.host), " >> ",
                      ShellQuote(file));
}

std::string ForgetLine(const Destination& destination, const std::string& file) {
  const std::string entry = destination.port == kDefaultPort
                                ? destination.host
                                : absl::StrCat("[", destination.host, "]:", destination.port);
  return absl::StrCat("ssh-keygen -R ", ShellQuote(entry), " -f ", ShellQuote(file));
}

}  // namespace

absl::Status CheckHostKey(ssh_session session, const Destination& destination) {
  const ssh_known_hosts_e verdict = ssh_session_is_known_server(session);
  if (verdict == SSH_KNOWN_HOSTS_OK) return absl::OkStatus();
  const std::string file = GetOption(session, SSH_OPTIONS_KNOWNHOSTS);
  const std::string host = destination.ToString();
  const std::string offered = Fingerprint(session);
  const std::string learn = LearnLine(destination, file);
  switch (verdict) {
    case SSH_KNOWN_HOSTS_CHANGED:
    case SSH_KNOWN_HOSTS_OTHER:
      return Failure(
          Reaction::kReconnect,
          absl::StrCat("ssh: HOST KEY CHANGED: ", host, " now offers ", offered, ", but ", model::QuotePath(file),
                       " holds another key for it: the host was set up anew, or somebody is in between; nothing was "
                       "sent. If `ssh-keygen -lf` on that host shows this fingerprint, run: ",
                       ForgetLine(destination, file), "; ", learn));
    case SSH_KNOWN_HOSTS_NOT_FOUND:
    case SSH_KNOWN_HOSTS_UNKNOWN:
      return Failure(Reaction::kReconnect,
                     absl::StrCat("ssh: the host key of ", host, " is not in ", model::QuotePath(file), ": it offers ",
                                  offered, "; if `ssh-keygen -lf` on that host shows this fingerprint, run: ", learn));
    default:
      return Failure(Reaction::kReconnect, absl::StrCat("ssh: the host key of ", host, " cannot be checked against ",
                                                        model::QuotePath(file), ": ", ErrorText(session)));
  }
}

}  // namespace fanmirror::link
