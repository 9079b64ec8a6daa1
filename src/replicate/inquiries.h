#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <variant>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "wire/messages.h"

namespace fanmirror::replicate {

// What may be asked of a target at any time, between the batches.
using Question = std::variant<wire::List, wire::HashFile>;
using Answer = std::variant<wire::Listing, wire::FileHash>;

// Questions that a thread beside the planning thread puts to the target, and their answers. Thread-safe.
class Inquiries {
 public:
  // Ids from here on are of inquiries; those below are the planning thread's own.
  static constexpr std::uint64_t kFirstId = std::uint64_t{1} << 63;

  // `wake`: the planning thread, which shall take the questions.
  explicit Inquiries(std::function<void()> wake) : wake_(std::move(wake)) {}

  // Gives the id under which the answer is awaited. Does not block; whoever asks bounds what is not awaited yet.
  std::uint64_t Ask(Question question);
  // Blocks for the answer; once for each id. An error: the connection is lost, or `abandoned` became true.
  absl::StatusOr<Answer> Await(std::uint64_t id, const std::function<bool()>& abandoned);
  // Nobody awaits the answers of before any more.
  void Forget();

  // The planning thread's.
  std::deque<Question> TakeQuestions();
  // The session's thread's: false when it is no answer to an inquiry.
  bool Deliver(Answer answer);
  // The connection is lost: what is not answered never will be, nor what is asked before Resume.
  void Fail(const absl::Status& why);
  void Resume();

 private:
  std::function<void()> wake_;
  std::mutex mutex_;
  std::condition_variable answered_;
  std::uint64_t next_id_ = kFirstId;     // guarded by mutex_, as all below
  std::deque<Question> questions_;       // not taken yet
  absl::Status lost_;
  absl::flat_hash_map<std::uint64_t, std::optional<absl::StatusOr<Answer>>> awaited_;
};

}  // namespace fanmirror::replicate
