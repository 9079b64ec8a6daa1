#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "cli/commands.h"
#include "cli/exit.h"
#include "config/config.h"
#include "daemon/connect.h"
#include "daemon/log.h"
#include "model/failure.h"
#include "os/ring.h"
#include "watch/mount.h"

namespace fanmirror::cli {
namespace {

// A check is for a person who waits; the daemon itself is more patient.
constexpr absl::Duration kConnectTimeout = absl::Seconds(5);
constexpr absl::Duration kAnswerTimeout = absl::Seconds(5);

// Prints the findings, a line each, and remembers whether one was a problem.
class Findings {
 public:
  void Ok(const std::string& line) { Print("ok: ", line); }
  void Problem(const std::string& line) {
    problems_ = true;
    Print("problem: ", line);
  }
  void Result(const absl::Status& status, const std::string& ok) {
    status.ok() ? Ok(ok) : Problem(std::string(status.message()));
  }
  bool problems() const { return problems_; }

 private:
  static void Print(const char* kind, const std::string& line) {
    std::printf("%s%s\n", kind, daemon::OneLine(line).c_str());
    std::fflush(stdout);
  }
  bool problems_ = false;
};

void CheckHost(Findings* findings) {
  findings->Result(watch::CheckHost(), "the kernel's fanotify has all that is needed");
  const std::string_view kind = os::Ring::Create(1)->kind();
  if (kind == "io_uring") {
    findings->Ok("files are read through io_uring");
  } else {
    findings->Ok(
        "io_uring is not available: files are read by threads, somewhat slower; "
        "sysctl kernel.io_uring_disabled=0 allows it");
  }
}

void CheckSource(const config::Job& job, Findings* findings) {
  if (!job.source_missing.empty()) {
    return findings->Problem(absl::StrCat(job.source_place, ": job ", job.name, ": ", job.source_missing));
  }
  const auto mount = watch::ResolveMount(job.source);
  if (!mount.ok())
    return findings->Problem(absl::StrCat("job ", job.name, ": ", std::string(mount.status().message())));
  findings->Ok(absl::StrCat("job ", job.name, ": source ", model::QuotePath(job.source), " lies on ",
                            mount->type, " ", model::QuotePath(mount->source), ", mounted at ",
                            model::QuotePath(mount->target)));
}

void CheckLocalTarget(const std::string& name, const config::Target& target, Findings* findings) {
  const std::string parent = target.path.substr(0, std::max<std::size_t>(target.path.rfind('/'), 1));
  struct stat status {};
  if (::stat(target.path.c_str(), &status) == 0) {
    if (S_ISDIR(status.st_mode))
      return findings->Ok(absl::StrCat(name, ": directory ", model::QuotePath(target.path)));
    return findings->Problem(absl::StrCat(name, ": ", model::QuotePath(target.path),
                                          " is no directory; remove it, or choose another path"));
  }
  if (::stat(parent.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) {
    return findings->Ok(absl::StrCat(name, ": directory ", model::QuotePath(target.path), " will be made"));
  }
  findings->Problem(absl::StrCat(name, ": ", model::QuotePath(parent),
                                 " does not exist; make it, or mount the target's disk"));
}

// What the far side says to `receiver --version`; "" when it says nothing in time.
absl::StatusOr<std::string> AskVersion(link::Link* link) {
  std::string answer;
  const absl::Time deadline = absl::Now() + kAnswerTimeout;
  while (absl::Now() < deadline && !absl::StrContains(answer, "\n") && answer.size() < 1000) {
    std::array<char, 256> buffer{};
    const auto length = link->Read(absl::MakeSpan(buffer));
    if (!length.ok()) return answer.empty() ? absl::StatusOr<std::string>(length.status()) : answer;
    answer.append(buffer.data(), *length);
    if (*length > 0) continue;
    const auto ready = link->Wait(/*want_write=*/false, -1, deadline - absl::Now());
    if (!ready.ok()) return ready.status();
  }
  return answer;
}

void CheckRemoteTarget(const std::string& name, const config::Target& target, Findings* findings) {
  link::SshOptions options = daemon::SshOptionsOf(target, target.receiver + " --version");
  options.connect_timeout = kConnectTimeout;
  std::string complaint;
  auto link = link::ConnectSsh(options, [&](std::string_view line) { complaint = std::string(line); });
  if (!link.ok()) return findings->Problem(absl::StrCat(name, ": ", std::string(link.status().message())));
  const auto answer = AskVersion(link->get());
  if (!answer.ok()) {
    return findings->Problem(absl::StrCat(name, ": ", std::string(answer.status().message()),
                                          complaint.empty() ? "" : " (" + complaint + ")",
                                          "; install fanmirror there, or name its command in `receiver`"));
  }
  const std::string ours = "fanmirror " FANMIRROR_VERSION "\n";
  if (*answer == ours)
    return findings->Ok(absl::StrCat(name, ": ", target.host, " answers as fanmirror " FANMIRROR_VERSION));
  if (absl::StartsWith(*answer, "fanmirror ") && absl::EndsWith(*answer, "\n")) {
    return findings->Problem(
        absl::StrCat(name, ": ", target.host, " has ", answer->substr(0, answer->size() - 1),
                     ", this is " FANMIRROR_VERSION "; install the same version on both"));
  }
  // A forced command runs the receiver whatever it is asked for.
  findings->Ok(
      absl::StrCat(name, ": ", target.host, " lets us in; it does not tell its version (a forced command?)"));
}

int RunCheck(const std::string& file) {
  if (const auto refused = RefuseUnlessRoot("check")) return *refused;
  Findings findings;
  CheckHost(&findings);
  const auto config = config::Load(file);
  if (!config.ok()) {
    findings.Problem(std::string(config.status().message()));
    return kUsage;
  }
  findings.Ok(absl::StrCat("configuration ", model::QuotePath(file)));
  for (const config::Job& job : config->jobs) {
    CheckSource(job, &findings);
    for (const config::Target& target : job.targets) {
      const std::string name = absl::StrCat("target ", job.name, "/", target.name);
      target.host.empty() ? CheckLocalTarget(name, target, &findings)
                          : CheckRemoteTarget(name, target, &findings);
    }
  }
  return findings.problems() ? kFailed : kDone;
}

}  // namespace

void AddCheck(CLI::App& app, int* exit_code) {
  CLI::App* command = app.add_subcommand("check", "Check configuration and host: each finding with its cure");
  auto file = std::make_shared<std::string>("/etc/fanmirror/fanmirror.toml");
  command->add_option("--config", *file, "The configuration file")->capture_default_str()->type_name("FILE");
  command->callback([file, exit_code] { *exit_code = RunCheck(*file); });
}

}  // namespace fanmirror::cli
