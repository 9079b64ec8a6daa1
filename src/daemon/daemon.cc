#include "daemon/daemon.h"

#include <fcntl.h>

#include <cerrno>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "daemon/connect.h"
#include "daemon/private_directory.h"
#include "model/failure.h"

namespace fanmirror::daemon {
namespace {

// Where `directory` lies below the job's source, whatever mount it is reached by; nullopt when it does not.
absl::StatusOr<std::optional<std::string>> PlaceBelowSource(const Job& job, const std::string& directory) {
  // A filesystem that cannot be watched is not the source's.
  const auto mount = watch::ResolveMount(directory);
  if (!mount.ok() || mount->filesystem != job.mount.filesystem) return std::nullopt;
  const os::UniqueFd fd(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return model::SystemFailure(model::Reaction::kHaltJob, "open", directory, errno);
  model::FileId id;
  if (const int error = os::IdAt(fd.get(), "", &id); error != 0) {
    return model::SystemFailure(model::Reaction::kHaltJob, "name_to_handle_at", directory, error);
  }
  auto place = job.tree->Locate(id);
  if (!place.ok()) return place.status();
  if (place->kind != os::Tree::Place::Kind::kInside) return std::nullopt;
  if (place->path.empty()) {
    return model::Failure(model::Reaction::kHaltJob,
                          absl::StrCat("state directory ", model::QuotePath(directory),
                                       " is the source itself; choose another state_dir"));
  }
  return place->path;
}

bool DeletesAtStartup(config::DeletePolicy policy) {
  return policy == config::DeletePolicy::kAlways || policy == config::DeletePolicy::kStartup;
}

bool DeletesWhileRunning(config::DeletePolicy policy) {
  return policy == config::DeletePolicy::kAlways || policy == config::DeletePolicy::kRunning;
}

}  // namespace

Daemon::Daemon(config::Config config, StateLock lock, LogSink log)
    : config_(std::move(config)), lock_(std::move(lock)), log_(std::move(log)), started_(absl::Now()) {}

absl::StatusOr<std::unique_ptr<Daemon>> Daemon::Start(config::Config config, LogSink log) {
  auto lock = StateLock::Take(config.state_dir);
  if (!lock.ok()) return lock.status();
  std::unique_ptr<Daemon> daemon(new Daemon(std::move(config), *std::move(lock), std::move(log)));

  daemon->StartJobs();
  daemon->supervisor_ = std::make_unique<Supervisor>(&daemon->jobs_, &daemon->service_, daemon->log_);

  Daemon* self = daemon.get();
  auto control =
      ControlServer::Start(daemon->config_.control_socket,
                           {[self] { return self->Status(); },
                            [self](const BarrierRequest& request, const std::function<bool()>& abandoned) {
                              return self->Wait(request, abandoned);
                            },
                            [self](const TargetChoice& choice) { return self->Approve(choice); },
                            [self](const VerifyRequest& request, const std::function<bool()>& abandoned,
                                   const std::function<bool(nlohmann::json)>& emit) {
                              return RunVerification(self->jobs_, request, abandoned, emit);
                            }});
  if (!control.ok()) return control.status();
  daemon->control_ = *std::move(control);
  return daemon;
}

void Daemon::StartJobs() {
  for (const config::Job& config : config_.jobs) {
    Job* job = jobs_.emplace_back(std::make_unique<Job>()).get();
    job->config = config;
    for (const config::Target& target : config.targets) {
      job->targets.emplace_back(std::make_unique<Target>())->config = target;
    }
    if (absl::Status status = PrepareJob(job); !status.ok()) {
      job->error = std::string(status.message());
      log_(Severity::kError, absl::StrCat("job ", job->config.name, " did not start: ", job->error));
    }
  }
  // From here on the events flow, and only then the scans begin: nothing falls between the two.
  for (auto& [filesystem, watcher] : watchers_) watcher->Start();
  for (const auto& job : jobs_) {
    for (const auto& target : job->targets) {
      if (job->error.empty() && target->replicator != nullptr) target->replicator->Start();
    }
    const bool audited = job->error.empty() && job->config.audit_content && job->config.audit > absl::ZeroDuration();
    if (audited) audits_.push_back(std::make_unique<ContentAudit>(job.get(), log_));
  }
}

absl::Status Daemon::PrepareJob(Job* job) {
  auto mount = watch::ResolveMount(job->config.source);
  if (!mount.ok()) return mount.status();
  job->mount = *std::move(mount);

  auto tree = os::Tree::Open(job->config.source);
  if (!tree.ok()) return tree.status();
  job->tree = *std::move(tree);

  job->selection.filter = job->config.filter;
  auto place = PlaceBelowSource(*job, config_.state_dir);
  if (!place.ok()) return place.status();
  if (*place) job->selection.ignored.push_back(**place);

  auto watcher = WatcherOf(job->mount);
  if (!watcher.ok()) return watcher.status();
  job->watcher = *watcher;

  const std::string state_dir = absl::StrCat(config_.state_dir, "/", job->config.name);
  if (absl::Status made = MakePrivateDirectory(state_dir); !made.ok()) return made;
  for (const auto& target : job->targets) OpenTarget(job, target.get());
  Subscribe(*job);
  return absl::OkStatus();
}

absl::StatusOr<watch::Watcher*> Daemon::WatcherOf(const watch::Mount& mount) {
  if (const auto known = watchers_.find(mount.filesystem); known != watchers_.end())
    return known->second.get();
  auto watcher = watch::Watcher::Open(mount);
  if (!watcher.ok()) return watcher.status();
  return watchers_.emplace(mount.filesystem, *std::move(watcher)).first->second.get();
}

void Daemon::OpenTarget(Job* job, Target* target) {
  const std::string name = TargetName(*job, *target);
  replicate::Options options;
  options.job = job->config.name;
  options.target = target->config.name;
  options.source = job->config.source;
  options.tree = job->tree.get();
  options.filesystem = job->mount.filesystem;
  options.filter = job->config.filter;
  options.ignored = job->selection.ignored;
  options.state_dir = absl::StrCat(config_.state_dir, "/", name);
  options.settle = job->config.settle;
  options.max_delay = job->config.max_delay;
  options.delete_at_startup = DeletesAtStartup(job->config.delete_policy);
  options.delete_while_running = DeletesWhileRunning(job->config.delete_policy);
  options.audit = job->config.audit_content ? absl::ZeroDuration() : job->config.audit;
  options.path = target->config.path;
  options.adopt = target->config.adopt;
  options.bandwidth_limit = target->config.bandwidth_limit;
  options.connect = ConnectTo(target->config);
  options.log = [log = log_, name](Severity severity, std::string_view line) {
    log(severity, absl::StrCat(name, ": ", std::string(line)));
  };
  auto replicator = replicate::Replicator::Open(std::move(options));
  if (replicator.ok()) {
    target->replicator = *std::move(replicator);
    target->earlier_error = target->replicator->progress().last_error;
  } else {
    target->error = std::string(replicator.status().message());
    log_(Severity::kError, absl::StrCat(name, " did not start: ", target->error));
  }
}

void Daemon::Subscribe(const Job& job) {
  std::vector<replicate::Replicator*> replicators;
  for (const auto& target : job.targets) {
    if (target->replicator != nullptr) replicators.push_back(target->replicator.get());
  }
  watch::Subscription subscription;
  subscription.tree = job.tree.get();
  subscription.filter = job.selection.filter;
  subscription.ignored = job.selection.ignored;
  subscription.changed = [replicators](absl::Span<const model::Change> changes) {
    for (replicate::Replicator* replicator : replicators) replicator->Changed(changes);
  };
  subscription.lost = [replicators, log = log_, name = job.config.name] {
    log(Severity::kWarning, absl::StrCat("job ", name, ": events were lost; scanning the source"));
    for (replicate::Replicator* replicator : replicators) replicator->Rescan();
  };
  job.watcher->Subscribe(std::move(subscription));
}

absl::Status Daemon::Approve(const TargetChoice& choice) {
  const auto chosen = ChooseTargets(jobs_, choice);
  if (!chosen.ok()) return chosen.status();
  for (const ChosenTarget& one : *chosen) {
    if (const auto why = WhyStopped(*one.job, *one.target)) {
      return model::Failure(model::Reaction::kHaltJob, absl::StrCat(TargetName(*one.job, *one.target), " ", *why));
    }
    one.target->replicator->Approve();
  }
  return absl::OkStatus();
}

void Daemon::StopReplicators() {
  // Together, since each may wait for its receiver's last answer.
  std::vector<std::thread> threads;
  for (const auto& job : jobs_) {
    for (const auto& target : job->targets) {
      if (target->replicator != nullptr) threads.emplace_back([&target] { target->replicator->Stop(); });
    }
  }
  for (std::thread& thread : threads) thread.join();
}

void Daemon::Stop() {
  control_.reset();
  audits_.clear();
  supervisor_.reset();
  StopReplicators();
  watchers_.clear();
}

Daemon::~Daemon() { Stop(); }

}  // namespace fanmirror::daemon
