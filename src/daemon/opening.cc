#include "daemon/opening.h"

#include <algorithm>
#include <thread>

#include "absl/strings/str_cat.h"
#include "daemon/connect.h"
#include "replicate/identity.h"

namespace fanmirror::daemon {
namespace {

// A scan is bound by what the kernel does for each inode; beyond four threads its locks eat the gain
// (measured with millions of files on ext4, xfs and btrfs).
constexpr int kMaxScanThreads = 4;

bool DeletesAtStartup(config::DeletePolicy policy) {
  return policy == config::DeletePolicy::kAlways || policy == config::DeletePolicy::kStartup;
}

bool DeletesWhileRunning(config::DeletePolicy policy) {
  return policy == config::DeletePolicy::kAlways || policy == config::DeletePolicy::kRunning;
}

}  // namespace

replicate::Options OptionsOf(const Job& job, const Target& target, const Source& source,
                             const std::string& state_dir, const LogSink& log) {
  replicate::Options options;
  options.job = job.config.name;
  options.target = target.config.name;
  options.source = job.config.source;
  options.tree = &source.tree();
  options.filesystem = source.mount().filesystem;
  options.filter = job.config.filter;
  options.ignored = source.selection().ignored;
  options.state_dir = state_dir;
  options.settle = job.config.settle;
  options.max_delay = job.config.max_delay;
  options.delete_at_startup = DeletesAtStartup(job.config.delete_policy);
  options.max_delete = {.fraction = job.config.max_delete.fraction, .count = job.config.max_delete.count};
  options.delete_while_running = DeletesWhileRunning(job.config.delete_policy);
  options.audit = job.config.audit_content ? absl::ZeroDuration() : job.config.audit;
  options.path = target.config.path;
  options.adopt = target.config.adopt;
  options.bandwidth_limit = target.config.bandwidth_limit;
  options.timeout = target.config.timeout;
  options.scan_threads =
      std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kMaxScanThreads);
  options.memory = {
      [&source](std::uint64_t token) { return source.watcher()->IsComplete(source.subscription(), token); },
      [&source](std::uint64_t token) { source.watcher()->SetComplete(source.subscription(), token); },
      [&source](std::uint64_t token) { source.watcher()->SetIncomplete(token); },
  };
  options.connect = ConnectTo(target.config);
  options.log = [log, name = TargetName(job, target)](Severity severity, std::string_view line) {
    log(severity, absl::StrCat(name, ": ", std::string(line)));
  };
  return options;
}

bool WasMirrored(const config::Job& job, const std::string& state_dir) {
  return std::any_of(job.targets.begin(), job.targets.end(), [&](const config::Target& target) {
    const auto identity = replicate::ReadIdentity(absl::StrCat(state_dir, "/", job.name, "/", target.name));
    return !identity.ok() || identity->has_value();
  });
}

}  // namespace fanmirror::daemon
