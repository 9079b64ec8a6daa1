#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "os/testing/tree_fixture.h"
#include "plan/planner.h"
#include "replicate/replicator.h"
#include "replicate/testing/receiver_link.h"
#include "replicate/testing/same_trees.h"

namespace fanmirror::replicate::testing {

inline constexpr absl::Duration kPatience = absl::Seconds(20);

// A source and a target on one filesystem, a replicator between them, and a receiver in this process. What a
// watcher would tell, the edits tell.
class MirrorTest : public os::testing::TreeTest {
 protected:
  void SetUp() override {
    TreeTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    auto state = os::testing::ScopedDirectory::Create();
    ASSERT_TRUE(state.ok()) << state.status();
    state_ = *std::move(state);
  }
  void TearDown() override { replicator_.reset(); }

  virtual Options MakeOptions() {
    Options options;
    options.job = "job";
    options.target = "target";
    options.source = At("source");
    options.tree = tree_.get();
    options.filesystem = "the filesystem";
    options.state_dir = state_->path() + "/state";
    options.settle = absl::Milliseconds(5);
    options.max_delay = absl::Milliseconds(50);
    options.connect = [this](link::StderrSink, int) { return Connect(); };
    options.log = [this](Severity, std::string_view line) {
      const std::lock_guard lock(mutex_);
      absl::StrAppend(&log_, absl::FormatTime("%M:%E3S ", absl::Now(), absl::UTCTimeZone()),
                      std::string(line), "\n");
    };
    return options;
  }
  void Open(const Options& options) {
    std::filesystem::create_directories(options.state_dir);
    auto replicator = Replicator::Open(options);
    ASSERT_TRUE(replicator.ok()) << replicator.status();
    replicator_ = *std::move(replicator);
  }
  void Start(const Options& options) {
    Open(options);
    replicator_->Start();
  }
  void Start() { Start(MakeOptions()); }
  void Stop() { replicator_.reset(); }
  void Restart() {
    Stop();
    Start();
  }

  static bool Await(const std::function<bool()>& condition, absl::Duration patience = kPatience) {
    for (const absl::Time limit = absl::Now() + patience; absl::Now() < limit;) {
      if (condition()) return true;
      absl::SleepFor(absl::Milliseconds(2));
    }
    return condition();
  }
  // All that was told before is on the target.
  void AwaitReached() {
    const std::uint64_t mark = replicator_->Mark();
    EXPECT_TRUE(Await([&] { return replicator_->Reached(mark); })) << Situation();
  }
  void ExpectMirrored() {
    AwaitReached();
    EXPECT_THAT(Differences(At("source"), At("target")), ::testing::IsEmpty()) << Situation();
  }
  // A published progress for which the condition holds.
  void AwaitProgress(const std::function<bool(const Progress&)>& condition) {
    EXPECT_TRUE(Await([&] { return condition(replicator_->progress()); })) << Situation();
  }
  // For messages of failed tests.
  std::string Situation() {
    const Progress now = replicator_->progress();
    const std::lock_guard lock(mutex_);
    return absl::StrCat("state ", std::string(StateName(now.state)), ", pending ", now.pending,
                        ", acked files ", now.acked_files, ", last error '", now.last_error, "', log:\n",
                        log_.substr(log_.size() - std::min<std::size_t>(log_.size(), 4000)));
  }

  // Edits, which are told once a replicator is open.
  void Tell(const std::vector<model::Change>& changes) {
    if (replicator_) replicator_->Changed(changes);
  }
  model::Change Name(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    const std::string dir = slash == std::string::npos ? "source" : "source/" + path.substr(0, slash);
    return {model::Change::Kind::kName, IdOf(dir),
            slash == std::string::npos ? path : path.substr(slash + 1)};
  }
  model::Change Node(const std::string& path, bool content = false) {
    return {model::Change::Kind::kNode, IdOf("source/" + path), "", content};
  }
  void Write(const std::string& path, const std::string& text) {
    WriteFile("source/" + path, text);
    Tell({Name(path), Node(path, /*content=*/true)});
  }
  void MakeDir(const std::string& path) {
    MakeDirectory("source/" + path);
    Tell({Name(path)});
  }
  void Move(const std::string& from, const std::string& to) {
    const model::Change left = Name(from);
    const model::Change came = Name(to);
    Rename("source/" + from, "source/" + to);
    Tell({left, came});
  }
  void Link(const std::string& from, const std::string& to) {
    ASSERT_EQ(::link(At("source/" + from).c_str(), At("source/" + to).c_str()), 0) << to;
    Tell({Name(to), Node(to)});
  }
  void Chmod(const std::string& path, mode_t mode) {
    ASSERT_EQ(::chmod(At("source/" + path).c_str(), mode), 0) << path;
    Tell({Node(path)});
  }
  // Of a directory: with what is in it.
  void Remove(const std::string& path) {
    std::vector<model::Change> told;
    if (std::filesystem::is_directory(std::filesystem::symlink_status(At("source/" + path)))) {
      for (const auto& each : std::filesystem::recursive_directory_iterator(At("source/" + path))) {
        told.push_back(Name(each.path().string().substr(At("source/").size())));
      }
    }
    told.push_back(Name(path));
    ASSERT_GT(std::filesystem::remove_all(At("source/" + path)), 0U) << path;
    Tell(told);
  }

  // Called on threads of the replicator; may be replaced before Start.
  std::function<absl::StatusOr<LinkLife>()> life_ = [] { return LinkLife{}; };
  std::atomic<int> connects_{0};

  std::unique_ptr<os::testing::ScopedDirectory> state_;
  std::unique_ptr<Replicator> replicator_;

 private:
  absl::StatusOr<std::unique_ptr<link::Link>> Connect() {
    ++connects_;
    const auto life = life_();
    if (!life.ok()) return life.status();
    return std::make_unique<ReceiverLink>(At("target"), *life);
  }

  std::mutex mutex_;
  std::string log_;  // guarded by mutex_
};

}  // namespace fanmirror::replicate::testing
