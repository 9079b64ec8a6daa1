#pragma once

#include <atomic>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "daemon/control_protocol.h"
#include "daemon/event_fd.h"
#include "os/unique_fd.h"

namespace fanmirror::daemon {

// What the control socket asks for. Called on threads of the server, several at a time.
struct ControlHandlers {
  std::function<nlohmann::json()> status;
  // `abandoned`: the client went, or the server ends.
  std::function<absl::Status(const BarrierRequest&, const std::function<bool()>& abandoned)> wait;
  std::function<absl::Status(const TargetChoice&)> approve;
  std::function<absl::Status(const TargetChoice&)> adopt;
  // `emit` gives the client a part of the answer; false: it went, or the server ends.
  std::function<absl::Status(const VerifyRequest&, const std::function<bool()>& abandoned, const Emit& emit)> verify;
};

// The unix stream socket that the commands talk to: for its owner only, a thread a client.
class ControlServer {
 public:
  // Clients at a time; one more is answered with an error.
  static constexpr std::size_t kMaxClients = 32;
  // A client that asks nothing for this long is dropped, so that forgotten ones do not use up the places.
  static constexpr absl::Duration kIdle = absl::Minutes(1);
  static constexpr absl::Duration kFollowInterval = absl::Seconds(1);

  // Makes the directory of `path` when missing, and replaces a socket that nobody answers on.
  static absl::StatusOr<std::unique_ptr<ControlServer>> Start(const std::string& path,
                                                              ControlHandlers handlers);
  ~ControlServer();  // ends every conversation, removes the socket

 private:
  struct Client {
    os::UniqueFd socket;
    std::thread thread;
    std::atomic<bool> done{false};
  };

  ControlServer(std::string path, os::UniqueFd socket, ControlHandlers handlers);
  void Accept();
  void ForgetDone();
  void Serve(int socket);
  // False: the conversation is over.
  bool AnswerLine(int socket, std::string_view line);
  bool Follow(int socket);
  bool Verify(int socket, const VerifyRequest& request);
  // Waits as long as the client wants to take its time (a pager), unless the server ends or `given_up`.
  bool SendPatiently(int socket, std::string line, const std::function<bool()>& given_up);
  bool Abandoned(int socket) const;

  std::string path_;
  os::UniqueFd socket_;
  ControlHandlers handlers_;
  EventFd end_;
  std::atomic<bool> ending_{false};
  std::list<Client> clients_;  // of the accepting thread
  std::thread thread_;
};

}  // namespace fanmirror::daemon
