#pragma once

#include <condition_variable>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "daemon/job.h"
#include "daemon/log.h"
#include "daemon/source.h"
#include "daemon/watchers.h"
#include "replicate/identity.h"

namespace fanmirror::daemon {

// The thread of one job, and the only one to open and close what runs of it. It looks whether the source is there and the
// same; when not, it closes all that holds the filesystem and tries again until it is. Nothing is ever concluded from what
// lies at the source's path meanwhile. A thread a job, so that a filesystem that hangs holds up its own jobs only.
class JobRunner {
 public:
  // Between two looks at the source where no change of the mount table asks for one.
  static constexpr absl::Duration kLookInterval = absl::Seconds(2);
  // A target that failed is tried again after so long, then twice as long, and so on.
  static constexpr absl::Duration kFirstRetry = absl::Seconds(1);
  static constexpr absl::Duration kLastRetry = absl::Minutes(1);
  // How long a command waits for the thread, which may be closing a connection.
  static constexpr absl::Duration kPatience = absl::Seconds(60);

  // `job` and `watchers` outlive this. Starts the thread.
  JobRunner(Job* job, std::string state_dir, Watchers* watchers, LogSink log);
  ~JobRunner();  // Stop

  // Blocks until the source and all targets were tried once, or until the deadline.
  void WaitUntilTried(absl::Time deadline);
  // The mount table changed: look now. Any thread, does not block.
  void Look();
  // Has what lies at the source's path now mirrored to `target`, whatever it was the mirror of, and its root taken over.
  // OK once the wish is durable, and the target was opened with it as far as it can be. Blocks. Any thread.
  absl::Status Adopt(Target* target);
  // Ends the thread without waiting for it, so that all jobs can end at once.
  void BeginStop();
  void Stop();  // waits for it

 private:
  struct Attempts {
    int failures = 0;  // in a row
    std::optional<absl::Time> next;
  };
  struct Wish {
    std::size_t target;
    std::promise<absl::Status> result;
  };

  void Run();
  void WaitForWork();
  std::vector<Wish> TakeWishes();

  // On the thread; job_runner.cc
  void Tend();
  void OpenSource(bool forced);
  void CloseSource();
  void TendTarget(std::size_t index);
  absl::Status OpenTarget(std::size_t index);
  void TendTargets();
  void Grant(std::vector<Wish>* wishes);
  absl::Status WriteWish(std::size_t index);

  std::string StateDirOf(const Target& target) const;
  replicate::SourceIdentity identity() const { return {source_->tree().root(), source_->mount().filesystem}; }
  void HoldBack(Target* target, Hold hold, const std::string& why);
  void HoldAll(Hold hold, const std::string& why);
  void HoldForeign(Target* target);
  bool AnyIsOfAnotherSource() const;
  absl::Duration NextRetry(Attempts* attempts) const;

  Job* job_;
  const std::string state_dir_;  // of the daemon
  Watchers* watchers_;
  LogSink log_;

  // Between threads.
  std::mutex mutex_;
  std::condition_variable wakeup_;
  bool look_ = false;          // guarded by mutex_
  bool ending_ = false;        // guarded by mutex_
  bool tried_ = false;         // guarded by mutex_
  std::vector<Wish> wishes_;   // guarded by mutex_

  // Of the thread alone.
  std::unique_ptr<Source> source_;             // null: closed
  SourceSight sight_;                          // what was seen right before source_ was opened
  std::optional<SourceSight> foreign_;         // sight_ when no target fitted; the same needs no other try
  std::vector<Attempts> attempts_;             // by index of the target
  std::thread thread_;
};

}  // namespace fanmirror::daemon
