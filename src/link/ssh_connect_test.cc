// Who is let in, who is talked to, and on which way: through a real sshd.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <thread>

#include "link/link.h"
#include "link/link_test_support.h"
#include "link/testing/sshd.h"
#include "model/failure.h"

namespace fanmirror::link {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::RunCommand;
using testing::Sshd;
using testing::WriteFile;

class SshConnectTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    std::signal(SIGPIPE, SIG_IGN);
    ::unsetenv("SSH_AUTH_SOCK");
    auto started = Sshd::Start();
    if (started.ok()) {
      server_ = started->release();
    } else {
      reason_ = new std::string(started.status().message());
    }
  }
  static void TearDownTestSuite() {
    delete server_;
    delete reason_;
    server_ = nullptr;
    reason_ = nullptr;
  }
  void SetUp() override {
    ASSERT_NE(server_, nullptr) << *reason_;
    ssh_directory_ = directory_.path() + "/ssh";
    ::mkdir(ssh_directory_.c_str(), 0700);
  }

  // Only `config` says what to do; known_hosts is the server's.
  SshOptions ByConfig(const std::string& alias, const std::string& config) {
    WriteFile(ssh_directory_ + "/config", config);
    if (!std::filesystem::exists(ssh_directory_ + "/known_hosts")) {
      std::filesystem::copy(server_->known_hosts(), ssh_directory_ + "/known_hosts");
    }
    SshOptions options;
    options.host = alias;
    options.command = "echo arrived";
    options.ssh_directory = ssh_directory_;
    return options;
  }
  SshOptions WithKnownHosts(const std::string& content) {
    SshOptions options = server_->OptionsFor("echo arrived");
    options.known_hosts = directory_.path() + "/known_hosts";
    WriteFile(options.known_hosts, content);
    return options;
  }
  std::string NewKey(const std::string& name, const std::string& passphrase) {
    const std::string file = directory_.path() + "/" + name;
    EXPECT_TRUE(RunCommand({"ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", file}).ok());
    return file;
  }
  // What the command wrote, or the failure to connect.
  static std::string Outcome(const SshOptions& options) {
    auto link = ConnectSsh(options, nullptr);
    if (!link.ok()) {
      EXPECT_EQ(model::ReactionOf(link.status()), model::Reaction::kReconnect);
      EXPECT_THAT(std::string(link.status().message()), Not(HasSubstr("\n")));
      return std::string(link.status().message());
    }
    std::string received;
    const absl::Status end = ReadToEnd(**link, &received);
    return received + std::string(end.message());
  }
  static ::testing::Matcher<std::string> Arrived() { return ::testing::StartsWith("arrived\n"); }

  static Sshd* server_;
  static std::string* reason_;
  const testing::TemporaryDirectory directory_;
  std::string ssh_directory_;
};

Sshd* SshConnectTest::server_ = nullptr;
std::string* SshConnectTest::reason_ = nullptr;

// Host keys.

TEST_F(SshConnectTest, EachTypeOfHostKeyAloneIsEnough) {
  for (const std::string type : {"ed25519", "rsa", "ecdsa"}) {
    EXPECT_THAT(Outcome(WithKnownHosts(server_->KnownHostsLine(type))), Arrived()) << type;
  }
}

TEST_F(SshConnectTest, HashedKnownHosts) {
  SshOptions options = WithKnownHosts(server_->KnownHostsLine("ecdsa"));
  ASSERT_TRUE(RunCommand({"ssh-keygen", "-H", "-f", options.known_hosts}).ok());
  ASSERT_THAT(testing::ReadFile(options.known_hosts), HasSubstr("|1|"));
  EXPECT_THAT(Outcome(options), Arrived());
}

TEST_F(SshConnectTest, UnknownHostKeyIsRefusedAndTheLineToRunWorks) {
  SshOptions options = WithKnownHosts("other.example ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIII\n");
  const std::string line = absl::StrCat("ssh-keyscan -p ", server_->port(), " -H 127.0.0.1 >> ", options.known_hosts);
  EXPECT_THAT(Outcome(options), AllOf(HasSubstr("is not in"), HasSubstr("SHA256:"), HasSubstr("run: " + line)));
  ASSERT_TRUE(RunCommand({"/bin/sh", "-c", line}).ok());
  EXPECT_THAT(Outcome(options), Arrived());
}

TEST_F(SshConnectTest, MissingKnownHostsFileIsRefused) {
  SshOptions options = WithKnownHosts("");
  std::filesystem::remove(options.known_hosts);
  EXPECT_THAT(Outcome(options), AllOf(HasSubstr("is not in"), HasSubstr("ssh-keyscan")));
}

TEST_F(SshConnectTest, ChangedHostKeyIsRefusedAndTheLineToRunWorks) {
  auto other = Sshd::Start();
  ASSERT_TRUE(other.ok()) << other.status();
  // The keys of the other server under the name of this one.
  std::string lines = (*other)->KnownHostsLine("ed25519");
  lines.replace(0, lines.find(' '), absl::StrCat("[127.0.0.1]:", server_->port()));
  SshOptions options = WithKnownHosts(lines);
  const std::string forget =
      absl::StrCat("ssh-keygen -R '[127.0.0.1]:", server_->port(), "' -f ", options.known_hosts);
  const std::string outcome = Outcome(options);
  EXPECT_THAT(outcome, AllOf(HasSubstr("HOST KEY CHANGED"), HasSubstr("ssh-ed25519 SHA256:"), HasSubstr(forget)));
  ASSERT_TRUE(RunCommand({"/bin/sh", "-c", forget}).ok());
  EXPECT_THAT(Outcome(options), HasSubstr("is not in"));
}

TEST_F(SshConnectTest, ConfigurationCannotSwitchTheHostKeyCheckOff) {
  WriteFile(ssh_directory_ + "/known_hosts", "");
  SshOptions options = ByConfig("127.0.0.1", "Host *\n StrictHostKeyChecking no\n");
  options.port = server_->port();
  options.identity_files = {server_->identity_file()};
  EXPECT_THAT(Outcome(options), HasSubstr("is not in"));
}

// Keys.

TEST_F(SshConnectTest, WrongKeyIsRefusedWithTheLineToRun) {
  SshOptions options = server_->OptionsFor("echo arrived");
  options.identity_files = {NewKey("wrong", "")};
  EXPECT_THAT(Outcome(options),
              AllOf(HasSubstr("let no key in"), HasSubstr("wrong' (refused)"), HasSubstr("publickey"),
                    HasSubstr(absl::StrCat("ssh-copy-id -i ", options.identity_files[0], ".pub -p ", server_->port(),
                                           " ", server_->user(), "@127.0.0.1"))));
}

TEST_F(SshConnectTest, FurtherKeysAreTriedInTurn) {
  SshOptions options = server_->OptionsFor("echo arrived");
  options.identity_files = {directory_.path() + "/none", NewKey("wrong", ""), server_->identity_file()};
  EXPECT_THAT(Outcome(options), Arrived());
}

TEST_F(SshConnectTest, MissingAndEncryptedKeysAreNamed) {
  SshOptions options = server_->OptionsFor("echo arrived");
  options.identity_files = {directory_.path() + "/none", NewKey("locked", "secret")};
  EXPECT_THAT(Outcome(options), AllOf(HasSubstr("none' (No such file"), HasSubstr("locked' (encrypted)"),
                                      HasSubstr("ssh-add " + options.identity_files[1])));
}

TEST_F(SshConnectTest, GivenKeysShutTheDefaultOnesOut) {
  std::filesystem::copy(server_->identity_file(), ssh_directory_ + "/id_ed25519");
  SshOptions options = ByConfig("127.0.0.1", "");
  options.port = server_->port();
  EXPECT_THAT(Outcome(options), Arrived());
  options.identity_files = {NewKey("wrong", "")};
  EXPECT_THAT(Outcome(options), HasSubstr("let no key in"));
}

TEST_F(SshConnectTest, RefusedDefaultKeysAreNamed) {
  std::filesystem::rename(NewKey("plain", ""), ssh_directory_ + "/id_ed25519");
  std::filesystem::rename(NewKey("locked", "secret"), ssh_directory_ + "/id_rsa");
  SshOptions options = ByConfig("127.0.0.1", "");
  options.port = server_->port();
  EXPECT_THAT(Outcome(options), AllOf(HasSubstr("id_ed25519' (refused)"), HasSubstr("id_rsa' (encrypted)"),
                                      HasSubstr("ssh-copy-id")));
}

TEST_F(SshConnectTest, ForcedCommandReplacesOurs) {
  Sshd::Options with;
  with.authorized_options = "command=\"echo forced: $SSH_ORIGINAL_COMMAND\",restrict";
  auto server = Sshd::Start(with);
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_THAT(Outcome((*server)->OptionsFor("receive --root x")), HasSubstr("forced: receive --root x\n"));
}

// Ways.

std::string AliasLines(const std::string& alias, const Sshd& server) {
  return absl::StrCat("Host ", alias, "\n HostName 127.0.0.1\n Port ", server.port(), "\n User ", server.user(),
                      "\n IdentityFile ", server.identity_file(), "\n UserKnownHostsFile ", server.known_hosts(), "\n");
}

TEST_F(SshConnectTest, AliasOfTheConfiguration) {
  EXPECT_THAT(Outcome(ByConfig("dr1", AliasLines("dr1", *server_))), Arrived());
}

TEST_F(SshConnectTest, OptionsWinOverTheConfiguration) {
  SshOptions options = ByConfig("dr1",
                                "Host dr1\n HostName 127.0.0.1\n Port 1\n User nobody-here\n IdentityFile /none\n"
                                " UserKnownHostsFile /none\n");
  options.port = server_->port();
  options.user = server_->user();
  options.identity_files = {server_->identity_file()};
  options.known_hosts = server_->known_hosts();
  EXPECT_THAT(Outcome(options), Arrived());
}

TEST_F(SshConnectTest, ProxyJump) {
  const std::string config = AliasLines("jump", *server_) + AliasLines("dr1", *server_) + " ProxyJump jump\n";
  EXPECT_THAT(Outcome(ByConfig("dr1", config)), Arrived());
}

TEST_F(SshConnectTest, ProxyJumpGetsTheGivenKeysAndHostKeys) {
  WriteFile(ssh_directory_ + "/known_hosts", "");
  SshOptions options = ByConfig("far", absl::StrCat("Host far\n HostName 127.0.0.1\n ProxyJump ", server_->user(),
                                                    "@127.0.0.1:", server_->port(), "\n"));
  options.port = server_->port();
  options.user = server_->user();
  options.identity_files = {server_->identity_file()};
  options.known_hosts = server_->known_hosts();
  EXPECT_THAT(Outcome(options), Arrived());
}

TEST_F(SshConnectTest, ProxyCommandAndWhatItSaysWhenItFails) {
  const std::string with_jump =
      AliasLines("jump", *server_) + AliasLines("dr1", *server_) + " ProxyCommand ssh -F " + ssh_directory_ +
      "/config -W %h:%p jump\n";
  EXPECT_THAT(Outcome(ByConfig("dr1", with_jump)), Arrived());
  const auto start = absl::Now();
  EXPECT_THAT(Outcome(ByConfig("dr1", AliasLines("dr1", *server_) + " ProxyCommand sh -c 'echo no way to %h >&2; exit 1'\n")),
              HasSubstr("its proxy command says: no way to 127.0.0.1"));
  EXPECT_LT(absl::Now() - start, absl::Seconds(10));
}

TEST_F(SshConnectTest, ProxyCommandIsReaped) {
  const std::string pid_file = directory_.path() + "/pid";
  SshOptions options = ByConfig(
      "dr1", AliasLines("jump", *server_) + AliasLines("dr1", *server_) + " ProxyCommand sh -c 'echo $$ >" + pid_file +
                 "; exec ssh -F " + ssh_directory_ + "/config -W %h:%p jump'\n");
  EXPECT_THAT(Outcome(options), Arrived());
  const std::string pid = testing::ReadFile(pid_file);
  ASSERT_FALSE(pid.empty());
  EXPECT_EQ(::kill(std::stoi(pid), 0), -1);
}

TEST_F(SshConnectTest, NamesThatAShellWouldInterpretAreRefused) {
  for (const std::string host : {"-oProxyCommand=reboot", "a;reboot", "$(reboot)", "", "a b"}) {
    SshOptions options = server_->OptionsFor("true");
    options.host = host;
    EXPECT_THAT(Outcome(options), HasSubstr("is no host or user name")) << host;
  }
}

// Servers that are not there.

class Listener {
 public:
  Listener() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    port_ = ntohs(address.sin_port);
  }
  void Listen() { EXPECT_EQ(::listen(fd_.get(), 8), 0); }
  int port() const { return port_; }

 private:
  os::UniqueFd fd_;
  int port_ = 0;
};

TEST_F(SshConnectTest, ConnectionRefused) {
  const Listener bound_only;
  SshOptions options = server_->OptionsFor("true");
  options.port = bound_only.port();
  EXPECT_THAT(Outcome(options), AllOf(HasSubstr("Connection refused"), HasSubstr("127.0.0.1")));
}

TEST_F(SshConnectTest, UnknownHostName) {
  SshOptions options = server_->OptionsFor("true");
  options.host = "no-such-host.invalid";
  EXPECT_THAT(Outcome(options), HasSubstr("host name 'no-such-host.invalid'"));
}

TEST_F(SshConnectTest, ASilentServerIsGivenUp) {
  Listener silent;
  silent.Listen();
  SshOptions options = server_->OptionsFor("true");
  options.port = silent.port();
  options.connect_timeout = absl::Seconds(1);
  const auto start = absl::Now();
  EXPECT_THAT(Outcome(options), HasSubstr("did not answer within 1s"));
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(900));
  EXPECT_LT(absl::Now() - start, absl::Seconds(30));
}

TEST_F(SshConnectTest, WakeupAbortsAtOnce) {
  Listener silent;
  silent.Listen();
  SshOptions options = server_->OptionsFor("true");
  options.port = silent.port();
  options.connect_timeout = kTestLimit;
  const os::UniqueFd wakeup(::eventfd(0, EFD_CLOEXEC));
  absl::Status status;
  const auto start = absl::Now();
  std::thread connecting([&] { status = ConnectSsh(options, nullptr, wakeup.get()).status(); });
  ::eventfd_write(wakeup.get(), 1);
  connecting.join();
  EXPECT_THAT(status.message(), HasSubstr("given up"));
  EXPECT_LT(absl::Now() - start, kTestLimit / 2);
}

TEST_F(SshConnectTest, NoDescriptorIsLeft) {
  const auto count = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
  };
  SshOptions wrong_key = server_->OptionsFor("true");
  wrong_key.identity_files = {NewKey("wrong", "")};
  Outcome(wrong_key);
  const auto before = count();
  for (const SshOptions& options : {server_->OptionsFor("true"), wrong_key, WithKnownHosts("")}) Outcome(options);
  SshOptions bad_expansion = ByConfig("dr1", AliasLines("dr1", *server_) + " GlobalKnownHostsFile /x%Z\n");
  EXPECT_THAT(Outcome(bad_expansion), HasSubstr("no SSH connection"));
  EXPECT_EQ(count(), before);
}

}  // namespace
}  // namespace fanmirror::link
