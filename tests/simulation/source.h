#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "os/tree.h"
#include "replicate/dialogue.h"
#include "replicate/replicator_impl.h"
#include "select/filter.h"
#include "simulation/link.h"
#include "watch/dispatch.h"

namespace fanmirror::simulation {

// Thrown out of a wait, or the start, of a process that has died.
struct SourceDied {};

// What a source's process needs of the world around it.
class Surroundings {
 public:
  virtual ~Surroundings() = default;
  // Lets the world go on until ready(), or until it is that late. Throws SourceDied.
  virtual void Pump(std::int64_t deadline_ns, absl::FunctionRef<bool()> ready) = 0;
  // A receiver is started, and `wire` leads to it; or kReconnect: it cannot be reached.
  virtual absl::Status Connect(Wire* wire) = 0;
  // The source gave up the connection.
  virtual void Disconnect(Wire* wire) = 0;
};

// The connection of a source's process: a real Dialogue, turned by the world.
class SimulatedSession : public replicate::Session {
 public:
  SimulatedSession(replicate::SessionOptions options, Surroundings* surroundings, Random* random, SimulatedSession** self);
  ~SimulatedSession() override;

  void Send(std::unique_ptr<replicate::Batch> batch) override { dialogue_->Send(std::move(batch)); }
  void Ask(replicate::Question question) override { dialogue_->Ask(std::move(question)); }
  // False: there is nothing to do now.
  bool Turn();
  Wire* wire() { return &wire_; }

 private:
  void End(const absl::Status& status);

  replicate::SessionOptions options_;
  Surroundings* const surroundings_;
  SimulatedSession** const self_;
  Wire wire_;
  WireLink link_{&wire_};
  std::unique_ptr<replicate::Dialogue> dialogue_;
  bool ended_ = false;
};

// The replicator, turned by the world.
class SimulatedReplicator : public replicate::ReplicatorImpl {
 public:
  SimulatedReplicator(replicate::Options options, replicate::Stores stores, Surroundings* surroundings, Random* random)
      : ReplicatorImpl(std::move(options), std::move(stores)), surroundings_(surroundings), random_(random) {}
  using ReplicatorImpl::Finish;
  using ReplicatorImpl::NoteStart;
  using ReplicatorImpl::Turn;
  using ReplicatorImpl::Wait;
  SimulatedSession* session() { return current_; }  // null while there is none

 protected:
  void WaitUntil(std::int64_t deadline_ns, absl::FunctionRef<bool()> ready) override;
  std::unique_ptr<replicate::Session> NewSession(replicate::SessionOptions options) override;

 private:
  Surroundings* const surroundings_;
  Random* const random_;
  SimulatedSession* current_ = nullptr;
};

// What a source's process is started with.
struct Start {
  std::string source;
  std::string state_dir;
  replicate::WatchMemory memory;
  std::size_t round_names = replicate::kRoundNames;
};

// The source's process from its start to its end: what the daemon builds for one job with one target.
class SourceProcess {
 public:
  // Throws SourceDied.
  SourceProcess(const Start& start, Surroundings* surroundings, Random* random);
  ~SourceProcess();

  // One turn, and the wait after it. Throws SourceDied.
  void Turn();
  // The orderly end.
  void Stop();
  SimulatedReplicator& replicator() { return *replicator_; }
  watch::EventDispatch* dispatch() { return &dispatch_; }
  // What events are lost: anything may differ.
  void Lose();

  static select::Filter Filter();

 private:
  std::unique_ptr<os::Tree> tree_;
  std::unique_ptr<SimulatedReplicator> replicator_;
  watch::EventDispatch dispatch_;
};

}  // namespace fanmirror::simulation
