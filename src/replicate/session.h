#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <variant>

#include "absl/status/statusor.h"
#include "link/link.h"
#include "os/tree.h"
#include "read/reader.h"
#include "replicate/batch.h"
#include "replicate/inquiries.h"
#include "wire/messages.h"

namespace fanmirror::replicate {

// What a session tells the planning thread.
struct Connected {
  wire::HelloReply reply;
};
struct Acknowledged {
  std::unique_ptr<Batch> batch;  // with results
};
struct Answered {
  Answer answer;
};
struct Lost {
  absl::Status status;  // the session is over
};
using SessionEvent = std::variant<Connected, Acknowledged, Answered, Lost>;

// Figures of a session that another thread may read; they add up over sessions.
struct Traffic {
  std::atomic<std::uint64_t> bytes_sent{0};
  std::atomic<std::uint64_t> bytes_received{0};
  std::atomic<std::uint64_t> produced{0};  // bytes of batches; a link that takes nothing stops it
  std::mutex mutex;
  std::string last_path;  // guarded by mutex
};

struct SessionOptions {
  const os::Tree* tree = nullptr;
  read::Belongs belongs;  // called on the session's thread
  std::function<absl::StatusOr<std::unique_ptr<link::Link>>(link::StderrSink, int wakeup_fd)> connect;
  link::StderrSink stderr_sink;
  wire::Hello hello;  // `silence`: a receiver that says nothing for so long is lost; 0: never
  std::uint64_t bandwidth_limit = 0;           // bytes a second, 0: none
  std::function<void(SessionEvent)> on_event;  // any thread; the last event is Lost
  // Any thread. False: what the receiver says is left unread until it is true again, so that a listing cannot outgrow who
  // learns from it. Empty: always true.
  std::function<bool()> has_room;
  Traffic* traffic = nullptr;
};

// One connection to a receiver, from connecting to its end. The destructor ends it: no event comes afterwards.
class Session {
 public:
  virtual ~Session() = default;
  // What is sent before the receiver answered waits for that.
  virtual void Send(std::unique_ptr<Batch> batch) = 0;
  // Asked as soon as no batch is being sent.
  virtual void Ask(Question question) = 0;
};

// Begins a connection on a thread of its own, which is the only one to use the link and the one that calls on_event.
std::unique_ptr<Session> StartSession(SessionOptions options);

}  // namespace fanmirror::replicate
