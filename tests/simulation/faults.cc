// What goes wrong in the world.
#include <fstream>

#include "absl/strings/str_cat.h"
#include "model/failure.h"
#include "simulation/failure.h"
#include "simulation/world.h"

namespace fanmirror::simulation {
namespace {

// Kinds of trouble are drawn one by one: most seeds have a few, so that each is met alone and together with others.
std::uint64_t Perhaps(Random* random, std::uint64_t share, std::uint64_t low, std::uint64_t high) {
  return random->OneIn(share) ? random->Between(low, high) : 0;
}

}  // namespace

Plan MakePlan(std::uint64_t seed, Random* random) {
  Plan plan;
  plan.operations = random->Between(10, 90);
  plan.rounds = random->OneIn(4) ? 2 : 1;
  plan.burst = random->OneIn(2) ? 1 : random->Between(2, 25);
  plan.overflow = Perhaps(random, 4, 100, 800);
  plan.cut = Perhaps(random, 2, 50, 600);
  plan.receiver_crash = Perhaps(random, 4, 100, 800);
  plan.source_crash = Perhaps(random, 3, 150, 1'000);
  plan.source_power = Perhaps(random, 5, 200, 1'000);
  plan.target_power = Perhaps(random, 3, 100, 800);
  plan.restore = Perhaps(random, 8, 200, 1'000);
  plan.refusals = Perhaps(random, 4, 30, 300);
  plan.connect = Perhaps(random, 3, 2, 4);
  plan.race = Perhaps(random, 2, 20, 400);
  plan.failing_look = Perhaps(random, 5, 50, 1'000);
  plan.torn_reads = random->OneIn(4);
  plan.commit = Perhaps(random, 4, 20, 200);
  plan.target.crash = Perhaps(random, 3, 30, 600);
  plan.target.failing_call = Perhaps(random, 5, 30, 400);
  plan.target.failing_sync = Perhaps(random, 8, 5, 30);
  plan.target.power_may_fail = plan.target_power > 0;
  // Of another sequence: what was found before these were kinds of trouble is found by the same seeds.
  Random further(~seed);
  plan.keeps_queue = further.OneIn(2);
  if (further.OneIn(2)) plan.round_names = further.Between(1, 9);
  return plan;
}

bool World::MakeTrouble() {
  if (random_.OneIn(plan_.overflow)) return Overflow(), true;
  if (random_.OneIn(plan_.cut)) return CutWire(), true;
  if (random_.OneIn(plan_.receiver_crash)) {
    target_.KillReceiver("is killed");
    if (wire_ != nullptr && !wire_->cut()) wire_->Cut(/*silent=*/false);
    return true;
  }
  if (random_.OneIn(plan_.source_crash)) return KillSource("is killed", /*power=*/false), true;
  if (random_.OneIn(plan_.source_power)) return KillSource("loses power", /*power=*/true), true;
  if (random_.OneIn(plan_.target_power)) return LoseTargetPower(), true;
  if (random_.OneIn(plan_.restore)) return RestoreTarget(), true;
  if (random_.OneIn(plan_.refusals)) return ChangeRefusal(), true;
  return false;
}

void World::Overflow() {
  Trace::Get().Add("events: overflow");
  events_.Drop();
  if (source_) source_->Lose();
  if (source_dead_) complete_.clear();  // it could not note that
}

void World::CutWire() {
  if (wire_ == nullptr || wire_->cut()) return;
  const bool silent = random_.OneIn(6);
  Trace::Get().Add(silent ? "wire: bytes vanish" : "wire: breaks");
  wire_->Cut(silent);
}

void World::LoseTargetPower() {
  target_.LosePower();
  checks_.ForgetTarget();
  if (wire_ == nullptr || wire_->cut()) return;
  wire_->Cut(/*silent=*/random_.OneIn(3));
}

void World::RestoreTarget() {
  // Two states of one batch look alike to a source that has compared the first and said nothing since.
  if (!target_trusted_ || !target_.RestoreOlder()) return;
  checks_.ForgetTarget();
  // Nobody tells the source before it connects again: until then it may believe what is not true any more.
  target_trusted_ = false;
  barrier_.reset();
  if (wire_ != nullptr && !wire_->cut()) wire_->Cut(/*silent=*/false);
}

void World::ChangeRefusal() {
  if (target_.faults.refusal != 0) {
    target_.faults.refusal = 0;
    Trace::Get().Add("target: takes every name again");
    return;
  }
  target_.faults.refused_name = random_.Pick(std::vector<std::string>{"a", "b", "c", "d"});
  target_.faults.refusal = random_.Pick(std::vector<int>{ENAMETOOLONG, EPERM, EDQUOT, ENOSPC, EINVAL});
  Trace::Get().Add(absl::StrCat("target: refuses the name ", target_.faults.refused_name, ", errno ", target_.faults.refusal));
}

int World::BeforeLook(const char* call) {
  if (healing_ || in_race_ || source_dead_) return 0;
  const bool torn = std::string_view(call) == "preadv2";
  if (operations_left_ > 0 && random_.OneIn(plan_.race) && (!torn || plan_.torn_reads)) {
    in_race_ = true;
    --operations_left_;
    Trace::Get().Add(absl::StrCat("race before ", call));
    user_.Act();
    in_race_ = false;
  }
  if (!random_.OneIn(plan_.failing_look)) return 0;
  Trace::Get().Add(absl::StrCat("source: ", call, " fails"));
  return EIO;
}

// Dies before a commit or just after it.
int World::OnCommit(bool after) {
  constexpr int kDead = EIO;
  if (source_dead_) return kDead;
  if (healing_ || !random_.OneIn(plan_.commit)) return 0;
  KillSource(after ? "dies after a commit" : "dies before a commit", /*power=*/random_.OneIn(3));
  return kDead;
}

void World::KillSource(std::string_view how, bool power) {
  Trace::Get().Add(absl::StrCat("source: ", std::string(how)));
  source_dead_ = true;
  source_power_ = power;
}

absl::Status World::Connect(Wire* wire) {
  if (!healing_ && random_.OneIn(plan_.connect)) {
    return model::Failure(model::Reaction::kReconnect, "connection refused");
  }
  Trace::Get().Add("wire: connects");
  wire_ = wire;
  target_.StartReceiver();
  return absl::OkStatus();
}

// What is under way from the source may still arrive: the receiver reads on.
void World::Disconnect(Wire* wire) {
  if (wire_ != wire) return;
  Receiver* const receiver = target_.receiver();
  if (!wire->cut()) wire->Cut(/*silent=*/false);
  if (receiver != nullptr && receiver->running() && !wire->to_receiver.empty()) receiver->Feed(wire->to_receiver);
  if (receiver != nullptr) receiver->EndInput();
  wire_ = nullptr;
}

}  // namespace fanmirror::simulation
