#include "replicate/session.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <atomic>
#include <deque>
#include <thread>
#include <utility>

#include "os/unique_fd.h"
#include "replicate/dialogue.h"

namespace fanmirror::replicate {
namespace {

// Between two looks whether there is room again for what the receiver says.
constexpr int kFullPauseMs = 2;

class ThreadSession : public Session {
 public:
  explicit ThreadSession(SessionOptions options)
      : options_(std::move(options)), wakeup_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), thread_([this] { Run(); }) {}
  ~ThreadSession() override {
    stopping_ = true;
    eventfd_write(wakeup_.get(), 1);
    thread_.join();
  }

  void Send(std::unique_ptr<Batch> batch) override {
    {
      std::lock_guard lock(mutex_);
      batches_.push_back(std::move(batch));
    }
    eventfd_write(wakeup_.get(), 1);
  }
  void Ask(Question question) override {
    {
      std::lock_guard lock(mutex_);
      questions_.push_back(std::move(question));
    }
    eventfd_write(wakeup_.get(), 1);
  }

 private:
  void Run();
  absl::Status Converse(Dialogue* dialogue, link::Link* link);
  void TakeCommands(Dialogue* dialogue);

  SessionOptions options_;
  os::UniqueFd wakeup_;
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::deque<std::unique_ptr<Batch>> batches_;  // guarded by mutex_
  std::deque<Question> questions_;              // guarded by mutex_
  std::thread thread_;                          // last: it uses all the others
};

void ThreadSession::Run() {
  absl::Status status;
  auto link = options_.connect(options_.stderr_sink, wakeup_.get());
  if (!link.ok()) {
    status = link.status();
  } else if (auto dialogue = Dialogue::Begin(options_); !dialogue.ok()) {
    status = dialogue.status();
  } else {
    status = Converse(dialogue->get(), link->get());
  }
  options_.on_event(Lost{status});
}

absl::Status ThreadSession::Converse(Dialogue* dialogue, link::Link* link) {
  while (!stopping_) {
    TakeCommands(dialogue);
    const auto moved = dialogue->Turn(link);
    if (!moved.ok()) return moved.status();
    if (*moved) continue;
    const Dialogue::Rest rest = dialogue->NextRest(*link);
    if (rest.full) {
      pollfd wakeup{wakeup_.get(), POLLIN, 0};
      poll(&wakeup, 1, kFullPauseMs);
      continue;
    }
    const auto ready = link->Wait(rest.want_write, wakeup_.get(), rest.timeout);
    if (!ready.ok()) return ready.status();
    eventfd_t count = 0;
    if (ready->wakeup) eventfd_read(wakeup_.get(), &count);
  }
  return absl::OkStatus();
}

void ThreadSession::TakeCommands(Dialogue* dialogue) {
  std::lock_guard lock(mutex_);
  for (; !questions_.empty(); questions_.pop_front()) dialogue->Ask(std::move(questions_.front()));
  for (; !batches_.empty(); batches_.pop_front()) dialogue->Send(std::move(batches_.front()));
}

}  // namespace

std::unique_ptr<Session> StartSession(SessionOptions options) {
  return std::make_unique<ThreadSession>(std::move(options));
}

}  // namespace fanmirror::replicate
