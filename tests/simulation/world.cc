#include "simulation/world.h"

#include <sys/stat.h>

#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "simulation/failure.h"

namespace fanmirror::simulation {
namespace {

// So long may healing take. The longest pause of the program is 300 s, after a failure that looks lasting.
constexpr std::int64_t kHealNs = 3'600'000'000'000;
constexpr std::int64_t kMsNs = 1'000'000;

}  // namespace

World::World(const std::string& directory, std::uint64_t seed)
    : random_(seed),
      directory_(directory),
      plan_(MakePlan(seed, &random_)),
      user_(directory + "/source", &random_),
      events_(directory + "/source"),
      target_(directory + "/target/root", &random_),
      checks_(&user_, SourceProcess::Filter()),
      source_reader_(user_.source(), /*is_source=*/true) {
  target_.on_durable = [this] { checks_.Observe(target_.durable()); };
  if (plan_.torn_reads) checks_.AllowMixtures();
  // What is learnt from the target's listing is taken for the source's where size and mtime are equal: another content of the
  // same size and mtime is for `verify --content` to find. So it is after an older state, and after a loss of the journal.
  if (BelievesTimes()) user_.LeaveTimesAlone();
  Kernel::Get().before_look = [this](const char* call) { return BeforeLook(call); };
  Kernel::Get().commit = [this](bool after) { return OnCommit(after); };
}

bool World::BelievesTimes() const { return plan_.restore > 0 || plan_.source_power > 0 || plan_.commit > 0; }

World::~World() {
  source_.reset();
  Kernel::Get().before_look = nullptr;
  Kernel::Get().commit = nullptr;
}

void World::Run() {
  // What is there before the first start.
  for (std::uint64_t count = random_.Below(20); count > 0; --count) {
    user_.Act();
    if (BelievesTimes()) Kernel::Get().Advance(kMsNs);  // no two of one time
  }
  StartSource();
  for (std::uint64_t round = 0; round < plan_.rounds; ++round) {
    Trouble();
    Heal();
    ExpectEqual("after healing");
    RestartCleanly();
    ExpectEqual("after a restart");
  }
}

void World::Trouble() {
  Trace::Get().Add("-- trouble");
  healing_ = false;
  target_.faults = plan_.target;
  operations_left_ = plan_.operations;
  next_operation_ns_ = Kernel::Get().now_ns();
  while (operations_left_ > 0) RunSource();
  // What is under way then is troubled, too.
  for (std::uint64_t turns = random_.Below(40); turns > 0; --turns) RunSource();
}

void World::Heal() {
  Trace::Get().Add("-- healing");
  healing_ = true;
  target_.faults = {};
  const std::int64_t deadline = Kernel::Get().now_ns() + kHealNs;
  while (!Settled()) {
    RunSource();
    if (Kernel::Get().now_ns() > deadline) {
      const replicate::Progress progress = source_->replicator().progress();
      Fail(absl::StrCat("an hour after the last trouble it is not equal: state ", std::string(replicate::StateName(progress.state)),
                        ", pending ", progress.pending, ", last error ", progress.last_error, "; ",
                        absl::StrJoin(Differences(checks_.Selected(source_reader_.Read()), Checks::WithoutHome(target_.Live())), "; ")));
    }
  }
}

bool World::Settled() {
  if (source_dead_) return false;
  const replicate::Progress progress = source_->replicator().progress();
  if (progress.state == replicate::State::kHalted) Fail("halted: " + progress.last_error);
  if (progress.state != replicate::State::kLive || progress.pending > 0) return false;
  if (wire_ == nullptr || wire_->cut()) return false;  // it has not heard of it yet
  return !DeliverEvents();
}

void World::ExpectEqual(std::string_view when) {
  const std::vector<std::string> lines =
      Differences(checks_.Selected(source_reader_.Read()), Checks::WithoutHome(target_.Live()));
  if (!lines.empty()) Fail(absl::StrCat("not equal ", std::string(when), ": ", absl::StrJoin(lines, "; ")));
}

// A restart sends no data again. What was learnt from the target by its looks, or was read while it changed, is sent once
// more: then the next restart is the judge.
void World::RestartCleanly() {
  constexpr int kRestarts = 3;
  for (int restart = 0; restart < kRestarts; ++restart) {
    Trace::Get().Add("-- restart");
    source_->Stop();
    source_.reset();
    Kernel::Get().Advance(5'000 * kMsNs);
    StartSource();
    do {
      RunSource();
    } while (!Settled());
    const replicate::Progress progress = source_->replicator().progress();
    if (progress.acked_bytes == 0 && progress.acked_files == 0) return;
  }
  Fail("each restart sends files again");
}

void World::RunSource() {
  try {
    source_->Turn();
  } catch (const SourceDied&) {
    EndSource();
    StartSource();
  }
  if (source_->replicator().progress().state == replicate::State::kHalted && !source_dead_) {
    Fail("halted: " + source_->replicator().progress().last_error);
  }
}

void World::EndSource() {
  source_.reset();
  source_dead_ = false;
  barrier_.reset();
  if (!std::exchange(source_power_, false)) return;
  // The host boots again: what was not synced is not to be trusted, and the queue is another.
  events_.Drop();
  complete_.clear();
  std::ofstream(directory_ + "/target/state/pending/boot_id") << "another boot\n";
}

void World::StartSource() {
  Start start{.source = user_.source(),
              .state_dir = directory_ + "/target/state",
              .memory = {.is_complete = [this](std::uint64_t token) { return complete_.contains(token); },
                         .set_complete = [this](std::uint64_t token) { if (!source_dead_) complete_.insert(token); },
                         .set_incomplete = [this](std::uint64_t token) { if (!source_dead_) complete_.erase(token); }},
              .round_names = plan_.round_names};
  while (!source_) {
    if (!plan_.keeps_queue) {
      events_.Drop();  // nobody listened
      complete_.clear();
    }
    try {
      source_ = std::make_unique<SourceProcess>(start, this, &random_);
    } catch (const SourceDied&) {
      if (!source_dead_) Fail("the source cannot start");
      EndSource();
    }
  }
}

// A barrier is set again and again, after everything that happened was told.
void World::LookAtBarrier() {
  if (!source_ || source_dead_) return;
  replicate::Replicator& replicator = source_->replicator();
  if (!target_trusted_) {
    target_trusted_ = replicator.progress().state == replicate::State::kLive && wire_ != nullptr && !wire_->cut();
    return;
  }
  if (!barrier_) {
    if (user_.operations() > barrier_set_at_ && random_.OneIn(8)) SetBarrier();
    return;
  }
  if (!replicator.Reached(barrier_->mark)) return;
  Trace::Get().Add(absl::StrCat("barrier ", barrier_->mark, " falls"));
  checks_.BarrierFell(*barrier_, target_.durable());
  barrier_.reset();
}

void World::SetBarrier() {
  barrier_set_at_ = user_.operations();
  while (DeliverEvents()) {
  }
  barrier_.emplace(Checks::Barrier{source_->replicator().Mark(), user_.operations(), source_reader_.Read()});
  Trace::Get().Add(absl::StrCat("barrier ", barrier_->mark, " is set"));
}

}  // namespace fanmirror::simulation
