#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "simulation/checks.h"
#include "simulation/events.h"
#include "simulation/source.h"
#include "simulation/target.h"
#include "simulation/user.h"

namespace fanmirror::simulation {

// What a seed decides before it begins. "One in so many"; 0: never.
struct Plan {
  std::uint64_t operations = 0;      // of the user, in each round
  std::uint64_t rounds = 1;          // of trouble and healing
  std::uint64_t burst = 1;           // operations that follow each other at once, at most
  // At each step of the world.
  std::uint64_t overflow = 0;        // the queue of events overflows
  std::uint64_t cut = 0;             // the connection breaks
  std::uint64_t receiver_crash = 0;
  std::uint64_t source_crash = 0;
  std::uint64_t source_power = 0;
  std::uint64_t target_power = 0;
  std::uint64_t restore = 0;         // the target becomes an older state of itself
  std::uint64_t refusals = 0;        // the target begins or ceases to refuse a name
  // At each attempt.
  std::uint64_t connect = 0;         // a connection is refused
  // At each look of the source's process at its tree.
  std::uint64_t race = 0;            // an operation of the user comes just before it
  std::uint64_t failing_look = 0;
  bool torn_reads = false;           // ... also between two reads of one file
  std::uint64_t commit = 0;          // at each commit of a store: the process dies before or after it
  // Of the source's process.
  bool keeps_queue = false;          // its queue of events outlives it
  std::size_t round_names = replicate::kRoundNames;
  TargetFaults target;
};
Plan MakePlan(std::uint64_t seed, Random* random);

// Everything, in one process and on one thread. The order in which things happen follows from the seed.
class World : public Surroundings {
 public:
  // `directory`: holds two filesystems, "source" and "target", for this run alone.
  World(const std::string& directory, std::uint64_t seed);
  ~World() override;

  // Trouble, healing and checks, as the seed says. Does not return after a finding.
  void Run();

  void Pump(std::int64_t deadline_ns, absl::FunctionRef<bool()> ready) override;
  absl::Status Connect(Wire* wire) override;
  void Disconnect(Wire* wire) override;

 private:
  // world.cc
  bool BelievesTimes() const;
  void Trouble();
  void Heal();
  void ExpectEqual(std::string_view when);
  void RestartCleanly();
  void RunSource();  // one turn, and what its death leads to
  void StartSource();
  void EndSource();
  void SetBarrier();
  void LookAtBarrier();
  bool Settled();

  // steps.cc: each does a little of what there is to do; false: nothing.
  bool Step();
  bool ActAsUser();
  bool DeliverEvents();
  bool TurnSession();
  bool FeedReceiver();
  void HangUp();
  bool StepReceiver();
  bool ArriveAtSource();
  // faults.cc
  bool MakeTrouble();
  void Overflow();
  void CutWire();
  void LoseTargetPower();
  void RestoreTarget();
  void ChangeRefusal();
  int BeforeLook(const char* call);
  int OnCommit(bool after);
  void KillSource(std::string_view how, bool power);

  Random random_;
  const std::string directory_;
  Plan plan_;
  User user_;
  EventQueue events_;
  Target target_;
  Checks checks_;
  ImageReader source_reader_;
  std::unique_ptr<SourceProcess> source_;
  Wire* wire_ = nullptr;  // of the connection that stands or just broke

  bool healing_ = false;
  std::uint64_t operations_left_ = 0;
  std::int64_t next_operation_ns_ = 0;
  bool source_dead_ = false;   // it died in the midst of what it does, and may not have any effect any more
  bool source_power_ = false;  // its whole host did
  bool in_race_ = false;
  std::uint64_t steps_ = 0;
  std::set<std::uint64_t> complete_;  // pending sets that the queue remembers to be complete
  std::optional<Checks::Barrier> barrier_;
  std::uint64_t barrier_set_at_ = 0;  // the operation
  bool target_trusted_ = true;  // false: it went back in time, and the source cannot know it yet
};

}  // namespace fanmirror::simulation
