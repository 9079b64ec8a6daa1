#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "apply/output.h"
#include "apply/session.h"
#include "apply/syncer.h"
#include "simulation/image.h"
#include "simulation/random.h"

namespace fanmirror::simulation {

// What may go wrong on the target, as "one in so many"; 0: never.
struct TargetFaults {
  std::uint64_t crash = 0;          // at each change that the receiver makes
  std::uint64_t failing_call = 0;   // the same: it fails, once
  std::uint64_t failing_sync = 0;
  std::string refused_name;         // no node can be put there...
  int refusal = 0;                  // ... with this errno
  bool power_may_fail = false;      // keeps what the disk may hold after a power cut
};

// One receiver process: an apply::Session that is fed with what arrives. Its syncer takes a step when it is told to.
class Receiver {
 public:
  explicit Receiver(const std::string& root);
  ~Receiver();

  // What it said and nobody took yet.
  std::string& output() { return output_.bytes; }
  // Takes those bytes. False: the process ended (it says why in `end`).
  bool Feed(std::string_view bytes);
  // The input is at its end.
  void EndInput();
  // A step of the syncer: syncs, or acknowledges what is synced. False: there is nothing to do.
  bool Step();
  bool running() const { return running_; }
  const std::string& end() const { return end_; }
  // From here on nothing that it does has an effect.
  void Kill(std::string_view how);

 private:
  struct Buffer : apply::Output {
    absl::Status Write(std::string_view more) override {
      bytes.append(more);
      return absl::OkStatus();
    }
    std::string bytes;
  };
  class Syncer;
  void Finish(const absl::Status& status);

  Buffer output_;
  Syncer* syncer_ = nullptr;  // of the session
  std::unique_ptr<apply::Session> session_;
  bool running_ = true;
  std::string end_;
};

// The target's host: its disk, and the receiver that runs there.
class Target {
 public:
  Target(std::string root, Random* random);
  ~Target();

  TargetFaults faults;
  // Called when the receiver has made something durable.
  std::function<void()> on_durable;

  void StartReceiver();
  Receiver* receiver() { return receiver_.get(); }  // null when there is none
  void KillReceiver(std::string_view how);
  // Loses what was not synced, or some of it.
  void LosePower();
  // Becomes what it was some syncs ago. False: there was no sync yet.
  bool RestoreOlder();

  Image Live() { return reader_.Read(); }
  // What is there after a power cut, at least.
  const Image& durable() const { return durable_; }

 private:
  int BeforeChange(const char* call, const char* name);
  int WriteOut(int fd);
  int Sync();

  const std::string root_;
  Random* const random_;
  ImageReader reader_;
  std::unique_ptr<Receiver> receiver_;
  Image durable_;
  std::vector<Image> older_;    // durable ones of before, a few
  std::vector<Image> between_;  // what the disk may hold besides, since the last sync
  std::set<std::uint64_t> written_out_;  // inode numbers of files whose data is on the disk, whatever becomes of their names
};

}  // namespace fanmirror::simulation
