#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "daemon/job.h"
#include "replicate/replicator.h"

namespace fanmirror::daemon::testing {

// A replicator whose state the test says: real ones cannot be brought into every state on demand.
class FakeReplicator : public replicate::Replicator {
 public:
  void Start() override { Set(replicate::State::kLive); }
  void Stop() override { Set(replicate::State::kStopped); }
  void Halt(std::string_view why) {
    std::lock_guard lock(mutex_);
    progress_.state = replicate::State::kHalted;
    progress_.last_error = std::string(why);
  }
  void Detach() override {}
  void Changed(absl::Span<const model::Change>) override {}
  void Rescan() override {}
  void RetryNow() override {}
  void Approve() override { ++approved; }
  replicate::Progress progress() const override {
    std::lock_guard lock(mutex_);
    return progress_;
  }
  absl::StatusOr<replicate::VerifyCounts> Verify(const replicate::VerifyOptions& options) override {
    for (const replicate::Difference& difference : differences) {
      if (!options.differs(difference)) return absl::CancelledError("nobody listens");
    }
    replicate::VerifyCounts counts;
    counts.differences = differences.size();
    return counts;
  }
  std::uint64_t Mark() const override { return mark; }
  bool Reached(std::uint64_t wanted) const override { return reached >= wanted; }

  void Set(replicate::State state) {
    std::lock_guard lock(mutex_);
    progress_.state = state;
  }
  void Set(replicate::Progress progress) {
    std::lock_guard lock(mutex_);
    progress_ = std::move(progress);
  }

  std::atomic<std::uint64_t> mark{1};
  std::atomic<std::uint64_t> reached{0};
  std::atomic<int> approved{0};
  std::vector<replicate::Difference> differences;  // what Verify finds

 private:
  mutable std::mutex mutex_;
  replicate::Progress progress_;
};

// A job of this name with targets of these names, which are held as nothing was tried yet.
inline std::unique_ptr<Job> MakeJob(const std::string& name, const std::vector<std::string>& targets) {
  config::Job config;
  config.name = name;
  config.source = "/srv/" + name;
  for (const std::string& target : targets) {
    config.targets.emplace_back().name = target;
    config.targets.back().path = "/backup/" + name;
  }
  auto job = std::make_unique<Job>(config);
  Job::SourceView source;
  source.mount.target = "/srv";
  source.mount.type = "ext4";
  job->SetSource(source);
  return job;
}

inline FakeReplicator* Run(Target* target) {
  auto replicator = std::make_unique<FakeReplicator>();
  FakeReplicator* raw = replicator.get();
  target->Run(std::move(replicator));
  return raw;
}

// Adds a job of this name with one target that runs, and returns the target's replicator.
inline FakeReplicator* AddJob(Jobs* jobs, const std::string& name, const std::string& target) {
  Job* job = jobs->emplace_back(MakeJob(name, {target})).get();
  return Run(job->targets.front().get());
}

}  // namespace fanmirror::daemon::testing
