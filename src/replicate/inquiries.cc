#include "replicate/inquiries.h"

#include <chrono>
#include <utility>

#include "model/failure.h"

namespace fanmirror::replicate {

namespace {

// Between two looks at whether anybody still wants the answer.
constexpr std::chrono::milliseconds kPatience{100};

std::uint64_t IdOf(const Answer& answer) {
  return std::visit([](const auto& one) { return one.id; }, answer);
}

}  // namespace

std::uint64_t Inquiries::Ask(Question question) {
  std::uint64_t id = 0;
  {
    const std::lock_guard lock(mutex_);
    id = next_id_++;
    if (!lost_.ok()) {
      awaited_[id] = lost_;
      return id;
    }
    std::visit([id](auto& one) { one.id = id; }, question);
    questions_.push_back(std::move(question));
    awaited_[id] = std::nullopt;
  }
  wake_();
  return id;
}

absl::StatusOr<Answer> Inquiries::Await(std::uint64_t id, const std::function<bool()>& abandoned) {
  std::unique_lock lock(mutex_);
  for (;;) {
    const auto it = awaited_.find(id);
    if (it != awaited_.end() && it->second) {
      absl::StatusOr<Answer> answer = *std::move(it->second);
      awaited_.erase(it);
      return answer;
    }
    if (answered_.wait_for(lock, kPatience) == std::cv_status::timeout && abandoned()) {
      return model::Failure(model::Reaction::kHaltJob, "nobody waits for the answer any more");
    }
  }
}

void Inquiries::Forget() {
  const std::lock_guard lock(mutex_);
  questions_.clear();
  awaited_.clear();
}

std::deque<Question> Inquiries::TakeQuestions() {
  const std::lock_guard lock(mutex_);
  return std::exchange(questions_, {});
}

bool Inquiries::Deliver(Answer answer) {
  const std::uint64_t id = IdOf(answer);
  if (id < kFirstId) return false;
  const std::lock_guard lock(mutex_);
  if (const auto it = awaited_.find(id); it != awaited_.end()) it->second = std::move(answer);
  answered_.notify_all();
  return true;
}

void Inquiries::Fail(const absl::Status& why) {
  const std::lock_guard lock(mutex_);
  lost_ = why;
  questions_.clear();
  for (auto& [id, answer] : awaited_) {
    if (!answer) answer = why;
  }
  answered_.notify_all();
}

void Inquiries::Resume() {
  const std::lock_guard lock(mutex_);
  lost_ = absl::OkStatus();
}

}  // namespace fanmirror::replicate
