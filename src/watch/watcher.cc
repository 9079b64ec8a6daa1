#include "watch/watcher.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstdint>
#include <fstream>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "model/failure.h"
#include "os/unique_fd.h"
#include "watch/dispatch.h"
#include "watch/mark.h"
#include "watch/pacer.h"

namespace fanmirror::watch {
namespace {

// Of one read: some 2,000 events. Larger ones are no faster.
constexpr std::size_t kBufferBytes = 256U << 10;
// An event holds at most two names of 255 bytes and three handles; below this much free space the kernel may
// have had more to give.
constexpr std::size_t kLargestEventBytes = 2U << 10;

// For ever, as far as a clock that counts nanoseconds can add it to now.
constexpr absl::Duration kLongestWait = absl::Hours(24 * 365);

class FanotifyWatcher final : public Watcher {
 public:
  FanotifyWatcher(os::UniqueFd group, os::UniqueFd wakeup)
      : group_(std::move(group)), wakeup_(std::move(wakeup)) {
  }
  ~FanotifyWatcher() override;

  std::uint64_t Subscribe(Subscription subscription) override;
  void Unsubscribe(std::uint64_t id) override;
  void Start() override;
  absl::Status Drain(absl::Duration timeout) override;
  bool MarkAlive() const override;
  Counters counters() const override;

 private:
  void Run();
  void Wake() const;
  void WaitForEvents() const;
  void Pause(absl::Duration time) const;
  EventDispatch::Tally Dispatch(std::string_view events);
  // Reads once and dispatches. Whether more is there for certain.
  bool ReadOnce();
  void BeginDrain();
  void EndDrain(bool queue_was_empty);

  const os::UniqueFd group_;
  const os::UniqueFd wakeup_;  // an eventfd: stop or drain
  const int own_pid_ = getpid();
  std::thread thread_;
  std::atomic<bool> stopping_ = false;

  std::atomic<std::uint64_t> events_ = 0;
  std::atomic<std::uint64_t> overflows_ = 0;
  std::atomic<std::uint64_t> filesystem_errors_ = 0;

  std::mutex mutex_;  // guards the drains asked and done
  std::condition_variable drained_;
  // Calls of Drain are numbered; all up to drains_done_ are finished.
  std::uint64_t drains_asked_ = 0;
  std::uint64_t drains_done_ = 0;

  // Held while callbacks run, and not while the queue is read: so whoever waits for it gets it between two
  // reads, however many there are.
  std::mutex dispatch_mutex_;
  EventDispatch dispatch_;  // guarded by dispatch_mutex_

  // The thread's own.
  Pacer pacer_;
  std::vector<char> buffer_ = std::vector<char>(kBufferBytes);
  std::uint64_t taken_ = 0;       // events taken off the queue and given to `changed`
  std::uint64_t draining_ = 0;    // the Drain under way, 0 for none
  std::uint64_t drained_at_ = 0;  // it is finished when taken_ is this
};

FanotifyWatcher::~FanotifyWatcher() {
  stopping_ = true;
  Wake();
  if (thread_.joinable()) thread_.join();
}

std::uint64_t FanotifyWatcher::Subscribe(Subscription subscription) {
  const std::lock_guard lock(dispatch_mutex_);
  return dispatch_.Add(std::move(subscription));
}

void FanotifyWatcher::Unsubscribe(std::uint64_t id) {
  const std::lock_guard lock(dispatch_mutex_);
  dispatch_.Remove(id);
}

void FanotifyWatcher::Start() {
  // Signals are for the threads that wait for them.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { Run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void FanotifyWatcher::Wake() const {
  const std::uint64_t one = 1;
  // The only failure is a counter that is full, and then the thread is awake.
  [[maybe_unused]] const ssize_t written = write(wakeup_.get(), &one, sizeof(one));
}

void FanotifyWatcher::Run() {
  bool more = false;
  while (!stopping_) {
    if (!more && draining_ == 0) WaitForEvents();
    BeginDrain();
    more = ReadOnce();
  }
}

void FanotifyWatcher::WaitForEvents() const {
  pollfd polled[] = {{group_.get(), POLLIN, 0}, {wakeup_.get(), POLLIN, 0}};
  poll(polled, 2, -1);
}

// Only a stop or a drain ends it early.
void FanotifyWatcher::Pause(absl::Duration time) const {
  pollfd polled = {wakeup_.get(), POLLIN, 0};
  const timespec timeout = absl::ToTimespec(time);
  ppoll(&polled, 1, &timeout, nullptr);
}

EventDispatch::Tally FanotifyWatcher::Dispatch(std::string_view events) {
  const std::lock_guard lock(dispatch_mutex_);
  return dispatch_.Dispatch(events, own_pid_);
}

bool FanotifyWatcher::ReadOnce() {
  const ssize_t bytes = read(group_.get(), buffer_.data(), buffer_.size());
  if (bytes <= 0) {
    if (bytes == 0 || errno == EAGAIN) {
      EndDrain(true);
    } else if (errno != EINTR) {
      // The event that the kernel could not give is gone.
      ++overflows_;
      {
        const std::lock_guard lock(dispatch_mutex_);
        dispatch_.Lose();
      }
      Pause(Pacer::kTick);
    }
    return false;
  }
  const auto size = static_cast<std::size_t>(bytes);
  const EventDispatch::Tally tally = Dispatch({buffer_.data(), size});
  events_ += tally.events;
  overflows_ += tally.overflows;
  filesystem_errors_ += tally.filesystem_errors;
  taken_ += tally.events;
  EndDrain(false);
  if (size + kLargestEventBytes > buffer_.size()) return true;
  const absl::Duration pause = pacer_.AfterRead(absl::Now(), tally.events);
  if (pause > absl::ZeroDuration() && draining_ == 0) Pause(pause);
  return false;
}

// Why counting is right. The queue is first in, first out, and this thread is its only reader. An event that
// is queued later is put at the end or merged into one that is there; it never puts another one back. So all
// that was queued before this moment is in the first FIONREAD / (least size of an event) events that are
// there now, or was taken before; once so many have been taken, however many others came, the drain is done.
// A kernel that would count the events' true sizes only makes us take more than is needed. An empty queue
// ends a drain in any case.
void FanotifyWatcher::BeginDrain() {
  if (draining_ != 0) return;  // whoever asked since then has the next turn
  {
    const std::lock_guard lock(mutex_);
    if (drains_asked_ == drains_done_) return;
    draining_ = drains_asked_;
  }
  std::uint64_t wakes = 0;
  [[maybe_unused]] const ssize_t consumed = read(wakeup_.get(), &wakes, sizeof(wakes));
  int queued_bytes = 0;
  drained_at_ = UINT64_MAX;  // without a count only the empty queue will do
  if (ioctl(group_.get(), FIONREAD, &queued_bytes) == 0) {
    drained_at_ = taken_ + static_cast<unsigned>(queued_bytes) / FAN_EVENT_METADATA_LEN;
  }
}

void FanotifyWatcher::EndDrain(bool queue_was_empty) {
  if (draining_ == 0 || (!queue_was_empty && taken_ < drained_at_)) return;
  {
    const std::lock_guard lock(mutex_);
    drains_done_ = draining_;
    drained_.notify_all();
    // Who asked while this drain was under way has been waked for already, and that wake may be consumed.
    if (drains_asked_ != drains_done_) Wake();
  }
  draining_ = 0;
}

absl::Status FanotifyWatcher::Drain(absl::Duration timeout) {
  std::unique_lock lock(mutex_);
  const std::uint64_t mine = ++drains_asked_;
  Wake();
  const auto limit = absl::ToChronoNanoseconds(std::min(timeout, kLongestWait));
  if (drained_.wait_for(lock, limit, [&] { return drains_done_ >= mine; })) return absl::OkStatus();
  return model::Failure(model::Reaction::kRetry,
                        absl::StrCat("wait for the queue of file events: not read up to now within ",
                                     absl::FormatDuration(timeout), "; ask again"));
}

bool FanotifyWatcher::MarkAlive() const {
  std::ifstream info(absl::StrCat("/proc/self/fdinfo/", group_.get()));
  std::string line;
  while (std::getline(info, line)) {
    if (line.starts_with("fanotify sdev:")) return true;
  }
  return false;
}

Watcher::Counters FanotifyWatcher::counters() const { return {events_, overflows_, filesystem_errors_}; }

}  // namespace

absl::StatusOr<std::unique_ptr<Watcher>> Watcher::Open(const Mount& mount) {
  auto group = NewGroup();
  if (!group.ok()) return std::move(group).status();
  if (auto marked = MarkFilesystem(group->get(), mount); !marked.ok()) return marked;
  os::UniqueFd wakeup(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wakeup) return model::SystemFailure(model::Reaction::kRetry, "eventfd", mount.target, errno);
  return std::make_unique<FanotifyWatcher>(*std::move(group), std::move(wakeup));
}

}  // namespace fanmirror::watch
