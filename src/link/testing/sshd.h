#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "link/child.h"
#include "link/link.h"

namespace fanmirror::link::testing {

// A directory below $TEST_TMPDIR or /tmp that goes away with all it holds.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory();
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// A real sshd on a free loopback port, with host keys, user key and known_hosts of its own in a temporary directory.
// It takes the current user, by public key only.
class Sshd {
 public:
  struct Options {
    std::vector<std::string> host_key_types = {"ed25519", "rsa", "ecdsa"};
    std::string config;              // more lines of sshd_config, which win over ours
    std::string authorized_options;  // of the line in authorized_keys: command="..." and the like
  };

  // Blocks until it takes connections. The error says what is missing here: a test skips or fails with it.
  static absl::StatusOr<std::unique_ptr<Sshd>> Start(const Options& options);
  static absl::StatusOr<std::unique_ptr<Sshd>> Start() { return Start(Options{}); }
  // Ends the listener and all connections.
  ~Sshd();

  int port() const { return port_; }
  const std::string& directory() const { return directory_.path(); }
  const std::string& user() const { return user_; }
  std::string identity_file() const { return directory() + "/id_ed25519"; }
  std::string known_hosts() const { return directory() + "/known_hosts"; }
  // "127.0.0.1" and the port as known_hosts names them, a blank, and the public host key of this type.
  std::string KnownHostsLine(const std::string& key_type) const;
  std::string log() const;

  // Complete options for `command` on this server. Nothing of the home directory is used.
  SshOptions OptionsFor(const std::string& command) const;
  // Ends what is there: the listener and its sessions, at once and without farewell (SIGKILL).
  void Kill();

 private:
  Sshd() = default;
  absl::Status MakeKeys(const Options& options);
  absl::Status WriteConfig(const Options& options);
  absl::Status Listen();

  TemporaryDirectory directory_;
  std::string user_;
  int port_ = 0;
  std::unique_ptr<Child> child_;
};

// Runs a command to its end; the error has its stderr.
absl::Status RunCommand(const std::vector<std::string>& argv);
void WriteFile(const std::string& path, const std::string& content, int mode = 0600);
std::string ReadFile(const std::string& path);

}  // namespace fanmirror::link::testing
