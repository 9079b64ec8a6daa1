#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "apply/root.h"
#include "os/unique_fd.h"
#include "wire/messages.h"

namespace fanmirror::apply {

// Hashes files on a thread of its own, so that a large one holds up neither ops nor acks. Answers in the order of asking.
class Hasher {
 public:
  // `answer` is called on the hasher's thread; after an error of it nothing is hashed any more.
  explicit Hasher(std::function<absl::Status(const wire::FileHash&)> answer);
  ~Hasher();  // gives up what is not answered

  // Opens the file at once, on the caller's thread: what is hashed is what lies there now. An error when more than
  // wire::kMaxHashFiles would wait.
  absl::Status Ask(Root* root, const wire::HashFile& hash_file);

 private:
  struct Waiting {
    std::uint64_t id = 0;
    std::string path;
    std::uint64_t bytes_per_second = 0;  // 0: no limit
    absl::Status failure;
    os::UniqueFd file;  // none: there is no regular file
  };
  void Run();
  wire::FileHash Answer(const Waiting& waiting);
  absl::StatusOr<model::ContentHash> HashOf(const Waiting& waiting);
  void PauseUntil(absl::Time due);

  std::function<absl::Status(const wire::FileHash&)> answer_;
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Waiting> waiting_;  // guarded by mutex_; the first may be under way
  std::thread thread_;           // last: it uses all the others
};

}  // namespace fanmirror::apply
