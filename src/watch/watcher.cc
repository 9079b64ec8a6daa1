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
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "model/failure.h"
#include "os/clock.h"
#include "os/unique_fd.h"
#include "watch/dispatch.h"
#include "watch/kept_buffer.h"
#include "watch/mark.h"
#include "watch/pacer.h"

namespace fanmirror::watch {
namespace {

// An event holds at most two names of 255 bytes and three handles; below this much free space the kernel may
// have had more to give.
constexpr std::size_t kLargestEventBytes = 2U << 10;

// No process has this id.
constexpr int kNobody = -1;

// For ever, as far as a clock that counts nanoseconds can add it to now.
constexpr absl::Duration kLongestWait = absl::Hours(24 * 365);

class FanotifyWatcher final : public Watcher {
 public:
  struct Parts {
    os::UniqueFd group;
    KeptBuffer buffer;
    os::UniqueFd wakeup;  // an eventfd
    bool continued;       // another process read from the group before
  };
  FanotifyWatcher(Parts parts, const Mount& mount)
      : group_(std::move(parts.group)),
        superblock_(mount.superblock),
        wakeup_(std::move(parts.wakeup)),
        continued_(parts.continued),
        buffer_(std::move(parts.buffer)) {}
  ~FanotifyWatcher() override;

  std::uint64_t Subscribe(Subscription subscription) override;
  void Unsubscribe(std::uint64_t id) override;
  void Start() override;
  void Stop() override;
  bool IsComplete(std::uint64_t id, std::uint64_t token) override;
  void SetComplete(std::uint64_t id, std::uint64_t token) override;
  void SetIncomplete(std::uint64_t token) override;
  std::pair<int, int> descriptors() const override { return {group_.get(), buffer_.fd()}; }
  absl::Status Drain(absl::Duration timeout) override;
  bool MarkAlive() const override;
  Counters counters() const override;

 private:
  void Run();
  void Wake() const;
  void WaitForEvents() const;
  void Pause(absl::Duration time) const;
  void Forget(std::uint64_t token);  // tokens_mutex_ is held
  void TakeOver();
  // Tells the subscribers of events that are in the region, and takes them out of it.
  std::size_t Dispatch(std::string_view events, int own_pid);
  // Reads once and dispatches. Whether more is there for certain.
  bool ReadOnce();
  void BeginDrain();
  void EndDrain(bool queue_was_empty);

  const os::UniqueFd group_;
  const std::uint64_t superblock_;
  const os::UniqueFd wakeup_;  // stop or drain
  const bool continued_;
  const int own_pid_ = getpid();
  std::thread thread_;
  std::atomic<bool> stopping_ = false;

  std::atomic<std::uint64_t> events_ = 0;
  std::atomic<std::uint64_t> overflows_ = 0;
  std::atomic<std::uint64_t> filesystem_errors_ = 0;

  // Guards the tokens in buffer_ and the owners of those that this process answers for.
  std::mutex tokens_mutex_;
  std::multimap<std::uint64_t, std::uint64_t> tokens_;  // by subscription
  bool frozen_ = false;                                 // nothing is read any more

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
  KeptBuffer buffer_;  // but for its tokens
  // Of the events taken, so many may have been queued before this process began: its pid was another's then.
  std::uint64_t earlier_ = 0;
  std::uint64_t taken_ = 0;       // events taken off the queue and given to `changed`
  std::uint64_t draining_ = 0;    // the Drain under way, 0 for none
  std::uint64_t drained_at_ = 0;  // it is finished when taken_ is this
};

FanotifyWatcher::~FanotifyWatcher() { Stop(); }

void FanotifyWatcher::Stop() {
  stopping_ = true;
  Wake();
  if (thread_.joinable()) thread_.join();
  const std::lock_guard lock(tokens_mutex_);
  frozen_ = true;
}

std::uint64_t FanotifyWatcher::Subscribe(Subscription subscription) {
  const std::lock_guard lock(dispatch_mutex_);
  return dispatch_.Add(subscription);
}

void FanotifyWatcher::Unsubscribe(std::uint64_t id) {
  {
    // What it is not told any more, it does not note.
    const std::lock_guard lock(tokens_mutex_);
    for (auto [at, end] = tokens_.equal_range(id); at != end; ++at) Forget(at->second);
    tokens_.erase(id);
  }
  const std::lock_guard lock(dispatch_mutex_);
  dispatch_.Remove(id);
}

bool FanotifyWatcher::IsComplete(std::uint64_t id, std::uint64_t token) {
  const std::lock_guard lock(tokens_mutex_);
  if (!buffer_.IsComplete(token)) return false;
  tokens_.emplace(id, token);
  return true;
}

void FanotifyWatcher::SetComplete(std::uint64_t id, std::uint64_t token) {
  const std::lock_guard lock(tokens_mutex_);
  tokens_.emplace(id, token);
  buffer_.SetComplete(token);
}

void FanotifyWatcher::SetIncomplete(std::uint64_t token) {
  const std::lock_guard lock(tokens_mutex_);
  Forget(token);
}

void FanotifyWatcher::Forget(std::uint64_t token) {
  if (!frozen_) buffer_.SetIncomplete(token);
}

void FanotifyWatcher::Start() {
  {
    const std::lock_guard lock(tokens_mutex_);
    std::vector<std::uint64_t> claimed;
    for (const auto& [id, token] : tokens_) claimed.push_back(token);
    buffer_.SetOthersIncomplete(claimed);
  }
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

// What the process before left in the region is told once more, before anything newer.
void FanotifyWatcher::TakeOver() {
  int queued_bytes = 0;
  earlier_ = UINT64_MAX;  // until the queue is empty
  if (ioctl(group_.get(), FIONREAD, &queued_bytes) == 0) {
    earlier_ = static_cast<unsigned>(queued_bytes) / FAN_EVENT_METADATA_LEN;
  }
  const auto left = buffer_.Undispatched();
  if (!left.ok()) {
    ++overflows_;
    const std::lock_guard lock(dispatch_mutex_);
    dispatch_.Lose();
  }
  Dispatch(left.value_or(""), kNobody);
  buffer_.Clear(KeptBuffer::kRegionBytes);
}

void FanotifyWatcher::Run() {
  if (continued_) TakeOver();
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

std::size_t FanotifyWatcher::Dispatch(std::string_view events, int own_pid) {
  EventDispatch::Tally tally;
  {
    const std::lock_guard lock(dispatch_mutex_);
    tally = dispatch_.Dispatch(events, own_pid);
  }
  buffer_.Clear(events.size());
  events_ += tally.events;
  overflows_ += tally.overflows;
  filesystem_errors_ += tally.filesystem_errors;
  return tally.events;
}

bool FanotifyWatcher::ReadOnce() {
  const absl::Span<char> region = buffer_.region();
  const ssize_t bytes = read(group_.get(), region.data(), region.size());
  if (bytes <= 0) {
    if (bytes == 0 || errno == EAGAIN) {
      earlier_ = 0;
      EndDrain(true);
    } else if (errno != EINTR) {
      // The event that the kernel could not give is gone.
      ++overflows_;
      {
        const std::lock_guard lock(dispatch_mutex_);
        dispatch_.Lose();
      }
      buffer_.Clear(region.size());
      Pause(Pacer::kTick);
    }
    return false;
  }
  const auto size = static_cast<std::size_t>(bytes);
  const std::size_t events = Dispatch({region.data(), size}, taken_ < earlier_ ? kNobody : own_pid_);
  taken_ += events;
  EndDrain(false);
  if (size + kLargestEventBytes > region.size()) return true;
  const absl::Duration pause = pacer_.AfterRead(absl::Now(), events);
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

bool FanotifyWatcher::MarkAlive() const { return ShowsMarkOn(DescribeMarks(group_.get()), superblock_); }

Watcher::Counters FanotifyWatcher::counters() const { return {events_, overflows_, filesystem_errors_}; }

absl::StatusOr<std::unique_ptr<Watcher>> Make(os::UniqueFd group, KeptBuffer buffer, bool continued,
                                              const Mount& mount) {
  os::UniqueFd wakeup(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wakeup) return model::SystemFailure(model::Reaction::kRetry, "eventfd", mount.target, errno);
  return std::make_unique<FanotifyWatcher>(
      FanotifyWatcher::Parts{std::move(group), std::move(buffer), std::move(wakeup), continued}, mount);
}

// What a watch of `mount` by `group` must be, to be one of ours.
KeptBuffer::Identity IdentityOf(int group, const Mount& mount, QueueBound bound) {
  return {.group_flags = GroupFlags(bound),
          .mask = EventMask(),
          .boot_id = os::BootId(),
          .filesystem = mount.filesystem,
          .mark = DescribeMarks(group)};
}

// Why a kept watch that looks like `found` is none of `mount`; empty when it is.
std::string_view WhyForeign(const KeptBuffer::Identity& found, const KeptBuffer::Identity& wanted,
                            const Mount& mount) {
  if (wanted.boot_id.empty() || found.boot_id != wanted.boot_id) return "they are from before the host was booted";
  if (found.filesystem != wanted.filesystem) return "they are of another filesystem";
  if (!ShowsMarkOn(wanted.mark, mount.superblock)) return "the filesystem was unmounted since they were kept";
  if (found != wanted) return "they were asked for by another version or another configuration of fanmirror";
  return {};
}

}  // namespace

absl::StatusOr<std::unique_ptr<Watcher>> Watcher::Open(const Mount& mount, QueueBound bound) {
  auto group = NewGroup(bound);
  if (!group.ok()) return std::move(group).status();
  if (auto marked = MarkFilesystem(group->get(), mount); !marked.ok()) return marked;
  auto buffer = KeptBuffer::Create(IdentityOf(group->get(), mount, bound));
  if (!buffer.ok()) return std::move(buffer).status();
  return Make(*std::move(group), *std::move(buffer), /*continued=*/false, mount);
}

absl::StatusOr<std::unique_ptr<Watcher>> Watcher::Continue(KeptWatch kept, const Mount& mount, QueueBound bound) {
  const auto refuse = [&mount](std::string_view why) {
    return model::Failure(model::Reaction::kLookAgain,
                          absl::StrCat("kept events of ", model::QuotePath(mount.target), ": ", std::string(why)));
  };
  auto buffer = KeptBuffer::Map(std::move(kept.buffer));
  if (!buffer.ok()) return std::move(buffer).status();
  const KeptBuffer::Identity wanted = IdentityOf(kept.queue.get(), mount, bound);
  if (const auto why = WhyForeign(buffer->identity(), wanted, mount); !why.empty()) return refuse(why);
  if (!buffer->locked()) return refuse("their memory cannot be locked; raise LimitMEMLOCK");
  if (const auto left = buffer->Undispatched(); !left.ok()) return left.status();
  return Make(std::move(kept.queue), *std::move(buffer), /*continued=*/true, mount);
}

std::string Watcher::FilesystemOf(int buffer) {
  const auto mapped = KeptBuffer::Map(os::UniqueFd(fcntl(buffer, F_DUPFD_CLOEXEC, 0)));
  return mapped.ok() ? mapped->identity().filesystem : std::string();
}

}  // namespace fanmirror::watch
