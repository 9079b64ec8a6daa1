#include "daemon/daemon.h"

#include <poll.h>

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/commands.h"
#include "cli/exit.h"
#include "config/config.h"
#include "daemon/log.h"
#include "daemon/opening.h"
#include "daemon/stop_signal.h"
#include "model/failure.h"
#include "watch/mount.h"

namespace fanmirror::cli {
namespace {

using daemon::Severity;

// A source that was never mirrored and is not there, or unfit, is a mistake in the configuration, found before anything
// runs. One that was mirrored before is waited for: its filesystem is not mounted yet, and other jobs need not wait.
absl::Status CheckSources(const config::Config& config) {
  for (const config::Job& job : config.jobs) {
    std::string message = job.source_missing;
    if (message.empty()) message = std::string(watch::ResolveMount(job.source).status().message());
    if (message.empty() || daemon::WasMirrored(job, config.state_dir)) continue;
    return absl::InvalidArgumentError(absl::StrCat(job.source_place, ": job ", job.name, ": ", message));
  }
  return absl::OkStatus();
}

std::string JobNames(const daemon::Jobs& jobs) {
  return absl::StrJoin(jobs, ", ", [](std::string* out, const auto& job) { out->append(job->config.name); });
}

int RunDaemon(const std::string& file) {
  if (const auto refused = RefuseUnlessRoot("daemon")) return *refused;
  if (const absl::Status host = watch::CheckHost(); !host.ok()) return Fail(kUsage, host);
  auto config = config::Load(file);
  if (!config.ok()) return Fail(kUsage, config.status());
  if (const absl::Status sources = CheckSources(*config); !sources.ok()) return Fail(kUsage, sources);

  daemon::StopSignal stop;
  daemon::Log log;
  auto running = daemon::Daemon::Start(*std::move(config), log.sink());
  if (!running.ok()) return Fail(kFailed, running.status());
  (*running)->service().Ready();
  log.Write(Severity::kInfo, absl::StrCat("fanmirror " FANMIRROR_VERSION " runs the jobs of ",
                                          model::QuotePath(file), ": ", JobNames((*running)->jobs())));

  pollfd wait{stop.fd(), POLLIN, 0};
  while (::poll(&wait, 1, -1) <= 0) {
  }
  log.Write(Severity::kInfo, absl::StrCat("stopping on signal ", stop.number()));
  (*running)->service().Stopping();
  (*running)->Stop();
  log.Write(Severity::kInfo, "stopped");
  return kDone;
}

}  // namespace

void AddDaemon(CLI::App& app, int* exit_code) {
  CLI::App* command = app.add_subcommand("daemon", "Run the jobs of a configuration file, as a service does");
  auto file = std::make_shared<std::string>("/etc/fanmirror/fanmirror.toml");
  command->add_option("--config", *file, "The configuration file")->capture_default_str()->type_name("FILE");
  command->callback([file, exit_code] { *exit_code = RunDaemon(*file); });
}

}  // namespace fanmirror::cli
