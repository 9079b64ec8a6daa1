#include "simulation/link.h"

#include <algorithm>

#include "model/failure.h"
#include "simulation/kernel.h"

namespace fanmirror::simulation {
namespace {

// What the way takes before the sender has to wait.
constexpr std::size_t kWindowBytes = 128 << 10;

// TCP_USER_TIMEOUT, about.
constexpr std::int64_t kSilenceNs = 20'000'000'000;

absl::Status Failed() { return model::Failure(model::Reaction::kReconnect, "the connection broke"); }

}  // namespace

void Wire::Cut(bool silent) {
  cut_ = true;
  silent_ = silent;
  cut_ns_ = Kernel::Get().now_ns();
  to_receiver.resize(random_->Below(to_receiver.size() + 1));
  to_source.resize(std::max(arrived_, random_->Below(to_source.size() + 1)));
  arrived_ = silent ? arrived_ : to_source.size();
}

void Wire::HangUp() {
  cut_ = true;
  arrived_ = to_source.size();
}

bool Wire::Broken() const { return cut_ && (!silent_ || Kernel::Get().now_ns() - cut_ns_ > kSilenceNs); }

absl::StatusOr<std::size_t> WireLink::Write(absl::Span<const char> data) {
  if (wire_->Broken()) return Failed();
  const std::size_t room = kWindowBytes - std::min(kWindowBytes, wire_->to_receiver.size());
  std::size_t size = std::min(data.size(), room);
  if (size > 1 && wire_->random_->OneIn(3)) size = 1 + wire_->random_->Below(size);
  if (!wire_->cut_) wire_->to_receiver.append(data.data(), size);
  return size;
}

absl::StatusOr<std::size_t> WireLink::Read(absl::Span<char> buffer) {
  std::size_t size = std::min(buffer.size(), wire_->arrived_);
  if (size > 1 && wire_->random_->OneIn(3)) size = 1 + wire_->random_->Below(size);
  if (size == 0) return wire_->Broken() ? absl::StatusOr<std::size_t>(Failed()) : 0;
  std::copy_n(wire_->to_source.begin(), size, buffer.begin());
  wire_->to_source.erase(0, size);
  wire_->arrived_ -= size;
  return size;
}

absl::StatusOr<link::Link::Ready> WireLink::Wait(bool, int, absl::Duration) { return Ready{}; }

}  // namespace fanmirror::simulation
