// What goes on in the world, a little at a time.
#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "simulation/failure.h"
#include "simulation/world.h"

namespace fanmirror::simulation {
namespace {

// Time that a step takes at most: short against the delays of the program, so that many orders come to be.
constexpr std::uint64_t kStepNs = 500'000;
// Steps of one run: far more than any run that makes progress needs.
constexpr std::uint64_t kMaxSteps = 400'000;
// Between operations of the user.
constexpr std::uint64_t kUserPauseNs = 60'000'000;

}  // namespace

void World::Pump(std::int64_t deadline_ns, absl::FunctionRef<bool()> ready) {
  Kernel& kernel = Kernel::Get();
  for (;;) {
    if (source_dead_) throw SourceDied{};
    if (++steps_ > kMaxSteps) Fail("it goes on for ever");
    LookAtBarrier();
    if (ready() && (healing_ || !random_.OneIn(3))) return;
    if (kernel.now_ns() >= deadline_ns) return;
    kernel.Advance(static_cast<std::int64_t>(random_.Below(kStepNs)));
    if (Step() || ready()) continue;
    // Nothing happens before someone's time comes.
    constexpr std::int64_t kLongestNs = 1'000'000'000;
    std::int64_t next = std::min(deadline_ns, kernel.now_ns() + kLongestNs);
    if (operations_left_ > 0) next = std::min(next, next_operation_ns_);
    if (next > kernel.now_ns()) kernel.Advance(next - kernel.now_ns());
  }
}

// Something that can be done now, whichever comes first by chance.
bool World::Step() {
  if (!healing_ && MakeTrouble()) return true;
  std::array<bool (World::*)(), 6> steps = {&World::ActAsUser,    &World::DeliverEvents, &World::TurnSession,
                                            &World::FeedReceiver, &World::StepReceiver,  &World::ArriveAtSource};
  for (std::size_t left = steps.size(); left > 0; --left) {
    const std::size_t at = random_.Below(left);
    if ((this->*steps[at])()) return true;
    std::swap(steps[at], steps[left - 1]);
  }
  return false;
}

bool World::ActAsUser() {
  if (operations_left_ == 0 || Kernel::Get().now_ns() < next_operation_ns_) return false;
  for (std::uint64_t count = 1 + random_.Below(plan_.burst); count > 0 && operations_left_ > 0; --count) {
    --operations_left_;
    user_.Act();
    Kernel::Get().Advance(static_cast<std::int64_t>(random_.Below(100'000)));
  }
  next_operation_ns_ = Kernel::Get().now_ns() + static_cast<std::int64_t>(random_.Below(kUserPauseNs));
  return true;
}

bool World::DeliverEvents() {
  if (!source_ || source_dead_) return false;
  const bool delivered = events_.Deliver(random_.OneIn(2) ? 512 : 8'192, source_->dispatch());
  if (delivered && source_dead_) events_.DeliverAgain();
  return delivered;
}

bool World::TurnSession() {
  return source_ && source_->replicator().session() != nullptr && source_->replicator().session()->Turn();
}

bool World::FeedReceiver() {
  Receiver* const receiver = target_.receiver();
  if (wire_ == nullptr || receiver == nullptr || !receiver->running()) return false;
  if (wire_->to_receiver.empty()) {
    if (!wire_->cut()) return false;
    receiver->EndInput();
    return true;
  }
  std::size_t size = wire_->to_receiver.size();
  if (random_.OneIn(2)) size = 1 + random_.Below(std::min<std::size_t>(size, 3'000));
  const std::string bytes = wire_->to_receiver.substr(0, size);
  wire_->to_receiver.erase(0, size);
  const bool goes_on = receiver->Feed(bytes);
  checks_.Observe(target_.Live());
  if (!goes_on) HangUp();
  return true;
}

// The receiver's process is at its end: what it said last still arrives.
void World::HangUp() {
  if (wire_ == nullptr || wire_->cut()) return;
  wire_->to_source.append(std::exchange(target_.receiver()->output(), ""));
  wire_->HangUp();
}

bool World::StepReceiver() {
  Receiver* const receiver = target_.receiver();
  if (receiver == nullptr || !receiver->Step()) return false;
  if (!receiver->running()) HangUp();
  return true;
}

bool World::ArriveAtSource() {
  Receiver* const receiver = target_.receiver();
  if (wire_ == nullptr || wire_->cut()) return false;
  if (receiver != nullptr && receiver->running()) wire_->to_source.append(std::exchange(receiver->output(), ""));
  const std::size_t waiting = wire_->to_source.size() - wire_->arrived();
  if (waiting == 0) return false;
  wire_->Arrive(random_.OneIn(2) ? waiting : 1 + random_.Below(waiting));
  return true;
}

}  // namespace fanmirror::simulation
