#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "daemon/job.h"
#include "replicate/replicator.h"

namespace fanmirror::daemon::testing {

// A replicator whose state the test says: real ones cannot be brought into every state on demand.
class FakeReplicator : public replicate::Replicator {
 public:
  void Start() override { Set(replicate::State::kLive); }
  void Stop() override { Set(replicate::State::kStopped); }
  void Halt(std::string_view why) override {
    std::lock_guard lock(mutex_);
    progress_.state = replicate::State::kHalted;
    progress_.last_error = std::string(why);
  }
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

// Adds a job of this name with one target, and returns the target's replicator.
inline FakeReplicator* AddJob(Jobs* jobs, const std::string& name, const std::string& target) {
  Job* job = jobs->emplace_back(std::make_unique<Job>()).get();
  job->config.name = name;
  job->config.source = "/srv/" + name;
  job->mount.target = "/srv";
  job->mount.type = "ext4";
  Target* added = job->targets.emplace_back(std::make_unique<Target>()).get();
  added->config.name = target;
  added->config.path = "/backup/" + name;
  auto replicator = std::make_unique<FakeReplicator>();
  FakeReplicator* raw = replicator.get();
  added->replicator = std::move(replicator);
  return raw;
}

}  // namespace fanmirror::daemon::testing
