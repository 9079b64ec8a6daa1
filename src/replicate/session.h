#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "link/link.h"
#include "os/tree.h"
#include "os/unique_fd.h"
#include "replicate/batch.h"
#include "wire/conversation.h"
#include "wire/frame.h"
#include "wire/messages.h"

namespace fanmirror::replicate {

class Sender;

// What a session tells the planning thread.
struct Connected {
  wire::HelloReply reply;
};
struct Acknowledged {
  std::unique_ptr<Batch> batch;  // with results
};
struct Listed {
  wire::Listing listing;  // one frame of the answer
};
struct Lost {
  absl::Status status;  // the session is over
};
using SessionEvent = std::variant<Connected, Acknowledged, Listed, Lost>;

// Figures of a session that another thread may read; they add up over sessions.
struct Traffic {
  std::atomic<std::uint64_t> bytes_sent{0};
  std::atomic<std::uint64_t> bytes_received{0};
  std::mutex mutex;
  std::string last_path;  // guarded by mutex
};

// One connection to a receiver, from connecting to its end, on a thread of its own: it is the only one to use the link.
class Session {
 public:
  struct Options {
    const os::Tree* tree = nullptr;
    std::function<absl::StatusOr<std::unique_ptr<link::Link>>(link::StderrSink, int wakeup_fd)> connect;
    link::StderrSink stderr_sink;
    wire::Hello hello;
    std::uint64_t bandwidth_limit = 0;          // bytes a second, 0: none
    std::function<void(SessionEvent)> on_event;  // called on the session's thread; the last event is Lost
    Traffic* traffic = nullptr;
  };
  // A peer that is silent for so long, though it was pinged, is lost. Long, because a target disk may stall on a sync.
  static constexpr absl::Duration kSilence = absl::Seconds(60);
  static constexpr absl::Duration kPingInterval = absl::Seconds(10);
  // So long may connecting and the answer to the hello take.
  static constexpr absl::Duration kHelloTimeout = absl::Seconds(60);

  explicit Session(Options options);
  ~Session();  // ends the connection and joins the thread

  void Send(std::unique_ptr<Batch> batch);
  void Ask(wire::List list);

 private:
  void Run();
  absl::Status Converse(link::Link* link);
  void TakeCommands();
  absl::StatusOr<bool> WriteSome(link::Link* link);
  absl::StatusOr<bool> ReadSome(link::Link* link);
  absl::Status OnFrame(const wire::Frame& frame);
  absl::Status KeepAlive();
  absl::Duration Allowance(std::size_t* bytes);
  bool stopping() const { return stopping_.load(); }

  Options options_;
  os::UniqueFd wakeup_;
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::deque<std::unique_ptr<Batch>> batches_;  // guarded by mutex_
  std::deque<wire::List> lists_;                // guarded by mutex_

  // Of the thread alone.
  std::unique_ptr<Sender> sender_;
  wire::Decoder decoder_{wire::Decoder::Start::kBeforeBanner};
  wire::SourceConversation conversation_;
  std::string out_;
  std::size_t written_ = 0;  // of out_
  bool greeted_ = false;
  absl::Time heard_;
  absl::Time pinged_;
  std::uint64_t pings_ = 0;
  double tokens_ = 0;  // bytes that may be sent now, under a bandwidth limit
  absl::Time tokens_at_;
  std::thread thread_;
};

}  // namespace fanmirror::replicate
