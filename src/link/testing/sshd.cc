#include "link/testing/sshd.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pwd.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "model/failure.h"
#include "os/unique_fd.h"

namespace fanmirror::link::testing {
namespace {

using model::Failure;
using model::Reaction;

constexpr const char* kSshd = "/usr/sbin/sshd";
constexpr auto kStartTime = std::chrono::seconds(20);  // a loaded machine
constexpr int kPortAttempts = 5;                       // somebody else may take the free port first
constexpr auto kPollInterval = std::chrono::milliseconds(5);

int FreePort() {
  const os::UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) != 0) return 0;
  if (::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  return ntohs(address.sin_port);
}

bool Answers(int port) {
  const os::UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  return ::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
}

std::string UserName() {
  const passwd* user = ::getpwuid(::geteuid());
  return user == nullptr ? "" : user->pw_name;
}

// "type base64" of a .pub file, without the comment.
std::string PublicKey(const std::string& file) {
  std::istringstream in(ReadFile(file));
  std::string type;
  std::string key;
  in >> type >> key;
  return absl::StrCat(type, " ", key);
}

}  // namespace

TemporaryDirectory::TemporaryDirectory() {
  const char* base = std::getenv("TEST_TMPDIR");
  path_ = absl::StrCat(base != nullptr ? base : "/tmp", "/fanmirror-link-XXXXXX");
  if (::mkdtemp(path_.data()) == nullptr) std::abort();
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void WriteFile(const std::string& path, const std::string& content, int mode) {
  std::ofstream(path, std::ios::trunc) << content;
  ::chmod(path.c_str(), static_cast<mode_t>(mode));
}

std::string ReadFile(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

absl::Status RunCommand(const std::vector<std::string>& argv) {
  const TemporaryDirectory directory;
  const std::string output = directory.path() + "/output";
  const os::UniqueFd in(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const os::UniqueFd out(::open(output.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  auto child = Child::Start(argv, in.get(), out.get(), out.get());
  if (!child.ok()) return child.status();
  Ending ending;
  while (!ending.known()) {
    (*child)->CheckEnd(&ending);
    if (!ending.known()) std::this_thread::sleep_for(kPollInterval);
  }
  return ending.succeeded() ? absl::OkStatus() : ending.ToStatus(argv[0], ReadFile(output));
}

absl::Status Sshd::MakeKeys(const Options& options) {
  std::vector<std::pair<std::string, std::string>> keys = {{"ed25519", "id_ed25519"}};
  for (const std::string& type : options.host_key_types) keys.emplace_back(type, "host_" + type);
  for (const auto& [type, name] : keys) {
    absl::Status status =
        RunCommand({"ssh-keygen", "-q", "-t", type, "-N", "", "-C", "test", "-f", directory() + "/" + name});
    if (!status.ok()) return status;
  }
  const std::string separator = options.authorized_options.empty() ? "" : " ";
  WriteFile(directory() + "/authorized_keys", absl::StrCat(options.authorized_options, separator,
                                                           PublicKey(directory() + "/id_ed25519.pub"), "\n"));
  return absl::OkStatus();
}

absl::Status Sshd::WriteConfig(const Options& options) {
  std::string config = options.config + "\n";
  for (const std::string& type : options.host_key_types) {
    absl::StrAppend(&config, "HostKey ", directory(), "/host_", type, "\n");
  }
  absl::StrAppend(&config, "Port ", port_, "\nListenAddress 127.0.0.1\nAuthorizedKeysFile ", directory(),
                  "/authorized_keys\n"
                  "StrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\nPasswordAuthentication no\n"
                  "KbdInteractiveAuthentication no\nMaxStartups 100\nPrintMotd no\nUseDNS no\nLogLevel VERBOSE\n");
  WriteFile(directory() + "/sshd_config", config);
  std::string lines;
  for (const std::string& type : options.host_key_types) lines += KnownHostsLine(type);
  WriteFile(known_hosts(), lines);
  return absl::OkStatus();
}

absl::Status Sshd::Listen() {
  const os::UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  auto child = Child::Start({kSshd, "-D", "-f", directory() + "/sshd_config", "-E", directory() + "/log"}, null.get(),
                            null.get(), null.get());
  if (!child.ok()) return child.status();
  child_ = *std::move(child);
  const auto deadline = std::chrono::steady_clock::now() + kStartTime;
  Ending ending;
  while (std::chrono::steady_clock::now() < deadline) {
    child_->CheckEnd(&ending);
    if (ending.known()) break;
    if (log().find("Server listening") != std::string::npos && Answers(port_)) return absl::OkStatus();
    std::this_thread::sleep_for(kPollInterval);
  }
  return Failure(Reaction::kRetry, absl::StrCat("sshd does not start: ", log()));
}

absl::StatusOr<std::unique_ptr<Sshd>> Sshd::Start(const Options& options) {
  if (::access(kSshd, X_OK) != 0) return Failure(Reaction::kRetry, "no /usr/sbin/sshd here: install openssh-server");
  // Where it keeps its unprivileged child.
  if (::geteuid() == 0 && ::mkdir("/run/sshd", 0755) != 0 && errno != EEXIST) {
    return model::SystemFailure(Reaction::kRetry, "mkdir", "/run/sshd", errno);
  }
  std::unique_ptr<Sshd> sshd(new Sshd());
  sshd->user_ = UserName();
  if (absl::Status status = sshd->MakeKeys(options); !status.ok()) return status;
  absl::Status status;
  for (int attempt = 0; attempt < kPortAttempts; ++attempt) {
    sshd->port_ = FreePort();
    if (status = sshd->WriteConfig(options); !status.ok()) return status;
    if (status = sshd->Listen(); status.ok()) return sshd;
  }
  return status;
}

Sshd::~Sshd() { Kill(); }

void Sshd::Kill() {
  if (child_ == nullptr) return;
  // Its sessions are processes in sessions of their own, found as its children.
  const std::string list = absl::StrCat("/proc/", child_->pid(), "/task/", child_->pid(), "/children");
  std::istringstream children(ReadFile(list));
  for (pid_t pid = 0; children >> pid;) ::kill(pid, SIGKILL);
  ::kill(child_->pid(), SIGKILL);
  child_.reset();
}

std::string Sshd::KnownHostsLine(const std::string& key_type) const {
  return absl::StrCat("[127.0.0.1]:", port_, " ", PublicKey(absl::StrCat(directory(), "/host_", key_type, ".pub")),
                      "\n");
}

std::string Sshd::log() const { return ReadFile(directory() + "/log"); }

SshOptions Sshd::OptionsFor(const std::string& command) const {
  SshOptions options;
  options.host = "127.0.0.1";
  options.user = user_;
  options.port = port_;
  options.identity_files = {identity_file()};
  options.known_hosts = known_hosts();
  options.command = command;
  options.ssh_directory = directory();
  return options;
}

}  // namespace fanmirror::link::testing
