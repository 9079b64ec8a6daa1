#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "os/testing/filesystem.h"
#include "os/tree.h"
#include "watch/watcher.h"

namespace fanmirror::watch {

// What a subscription was told.
class Recorder {
 public:
  void Add(absl::Span<const model::Change> changes) {
    const std::lock_guard lock(mutex_);
    largest_call_ = std::max(largest_call_, changes.size());
    changes_.insert(changes_.end(), changes.begin(), changes.end());
    added_.notify_all();
  }
  void AddLoss() {
    const std::lock_guard lock(mutex_);
    ++losses_;
  }
  // What was told since the last call.
  std::vector<model::Change> Take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(changes_, {});
  }
  void WaitForAny() {
    std::unique_lock lock(mutex_);
    added_.wait(lock, [this] { return !changes_.empty(); });
  }
  std::size_t largest_call() const {
    const std::lock_guard lock(mutex_);
    return largest_call_;
  }
  int losses() const {
    const std::lock_guard lock(mutex_);
    return losses_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable added_;
  std::vector<model::Change> changes_;
  std::size_t largest_call_ = 0;
  int losses_ = 0;
};

// Runs `act` in a process of its own, because the watcher drops its own process's events. `act` returns
// whether all went well. Returns the process id.
inline pid_t StartProcess(absl::FunctionRef<bool()> act) {
  const pid_t child = fork();
  if (child == 0) _exit(act() ? 0 : 1);
  return child;
}
inline void ExpectSuccess(pid_t child) {
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "the other process failed: " << status;
}
inline void InAnotherProcess(absl::FunctionRef<bool()> act) { ExpectSuccess(StartProcess(act)); }

inline bool WriteFile(const std::string& path, std::string_view content, int flags = O_CREAT | O_TRUNC) {
  const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC | flags, 0644);
  return fd >= 0 && write(fd, content.data(), content.size()) == static_cast<ssize_t>(content.size()) &&
         close(fd) == 0;
}

// A filesystem of its own with a source directory, a place outside of it, and a watcher of the source.
class WatchedFilesystem : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (!os::testing::IsRoot()) GTEST_SKIP() << "fanotify and mount need root";
    const bool subvolume = GetParam() == "btrfs-subvolume";
    auto filesystem = os::testing::ScopedFilesystem::Create(subvolume ? "btrfs" : GetParam());
    ASSERT_TRUE(filesystem.ok()) << filesystem.status();
    filesystem_ = *std::move(filesystem);
    if (subvolume) {
      ASSERT_TRUE(os::testing::RunCommand({"btrfs", "subvolume", "create", filesystem_->path() + "/@"}).ok());
      ASSERT_TRUE(filesystem_->Unmount().ok());
      ASSERT_TRUE(filesystem_->Mount("subvol=@").ok());
    }
    source_ = filesystem_->path() + "/source";
    outside_ = filesystem_->path() + "/outside";
    for (const std::string& dir : {source_, outside_, source_ + "/dir"}) {
      ASSERT_EQ(mkdir(dir.c_str(), 0755), 0);
    }
  }

  // After the test has made what is there before.
  void StartWatching(const select::Filter& filter = {}, const std::vector<std::string>& ignored = {}) {
    auto mount = ResolveMount(source_);
    ASSERT_TRUE(mount.ok()) << mount.status();
    auto tree = os::Tree::Open(source_);
    ASSERT_TRUE(tree.ok()) << tree.status();
    tree_ = *std::move(tree);
    auto watcher = Watcher::Open(*mount);
    ASSERT_TRUE(watcher.ok()) << watcher.status();
    watcher_ = *std::move(watcher);
    watcher_->Subscribe({tree_.get(), filter, ignored,
                         [this](absl::Span<const model::Change> changes) { told_.Add(changes); },
                         [this] { told_.AddLoss(); }});
    if (second_ != nullptr) second_(*watcher_);
    watcher_->Start();
  }

  // What was told up to now.
  std::vector<model::Change> Told() {
    const absl::Status drained = watcher_->Drain(absl::Seconds(20));
    EXPECT_TRUE(drained.ok()) << drained;
    return told_.Take();
  }

  static model::FileId IdOf(const std::string& path) {
    model::FileId id;
    EXPECT_EQ(os::IdAt(AT_FDCWD, path.c_str(), &id), 0) << path;
    return id;
  }
  // The change of the entry at `path`; its directory must exist.
  static model::Change Name(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    return {model::Change::Kind::kName, IdOf(path.substr(0, slash)), path.substr(slash + 1), false, false};
  }
  static model::Change Content(const model::FileId& id) {
    return {model::Change::Kind::kNode, id, "", true, false};
  }
  static model::Change Attributes(const model::FileId& id) {
    return {model::Change::Kind::kNode, id, "", false, false};
  }
  static model::Change Below(const model::FileId& id) {
    return {model::Change::Kind::kTree, id, "", false, false};
  }

  std::unique_ptr<os::testing::ScopedFilesystem> filesystem_;
  std::string source_;
  std::string outside_;
  Recorder told_;
  std::function<void(Watcher&)> second_;  // subscribes further before the start
  std::unique_ptr<os::Tree> tree_;
  std::unique_ptr<Watcher> watcher_;
};

inline std::vector<std::string> WatchedFilesystems() {
  std::vector<std::string> all = os::testing::AllFilesystems();
  all.emplace_back("btrfs-subvolume");
  return all;
}

inline std::string TestName(const ::testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  std::erase(name, '-');
  return name;
}

}  // namespace fanmirror::watch

namespace fanmirror::model {

inline void PrintTo(const Change& change, std::ostream* out) {
  *out << "{kind " << static_cast<int>(change.kind) << ' ' << change.id.ToString() << " '" << change.name
       << '\'' << (change.content ? " content" : "") << '}';
}

}  // namespace fanmirror::model
