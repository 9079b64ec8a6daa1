#include "apply/heartbeat.h"

#include <string>

#include "wire/messages.h"

namespace fanmirror::apply {

Heartbeat::Heartbeat(Output* output, absl::Duration interval)
    : output_(output), interval_(interval), thread_([this] { Run(); }) {}

Heartbeat::~Heartbeat() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Heartbeat::Run() {
  std::string ping;
  wire::AppendPing({}, &ping);
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, absl::ToChronoNanoseconds(interval_), [this] { return stopping_; })) {
    lock.unlock();
    if (!output_->Write(ping).ok()) return;
    lock.lock();
  }
}

}  // namespace fanmirror::apply
