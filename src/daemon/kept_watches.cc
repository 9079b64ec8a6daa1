#include "daemon/kept_watches.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "model/failure.h"

namespace fanmirror::daemon {
namespace {

constexpr std::string_view kQueue = "queue-";
constexpr std::string_view kBuffer = "buffer-";

std::string Name(std::string_view kind, const std::string& id) { return absl::StrCat(std::string(kind), id); }

std::string NewId() {
  absl::BitGen random;
  return absl::StrCat(absl::Hex(absl::Uniform<std::uint64_t>(random), absl::kZeroPad16));
}

}  // namespace

KeptWatches::KeptWatches(ServiceManager* service, watch::QueueBound bound, LogSink log)
    : service_(service), bound_(bound), log_(std::move(log)) {
  for (ServiceManager::Kept& kept : service_->TakeKept()) {
    const std::string_view name = kept.name;
    const bool is_queue = name.starts_with(kQueue);
    if (!is_queue && !name.starts_with(kBuffer)) {
      service_->Forget(kept.name);  // and it is closed
      continue;
    }
    const std::string id(name.substr(is_queue ? kQueue.size() : kBuffer.size()));
    auto pair = std::find_if(left_.begin(), left_.end(), [&id](const Left& one) { return one.id == id; });
    if (pair == left_.end()) pair = left_.insert(left_.end(), Left{id, {}, {}});
    (is_queue ? pair->descriptors.queue : pair->descriptors.buffer) = std::move(kept.fd);
  }
  for (Left& each : left_) {
    if (each.descriptors.queue && each.descriptors.buffer) {
      each.filesystem = watch::Watcher::FilesystemOf(each.descriptors.buffer.get());
    }
  }
}

std::vector<KeptWatches::Left> KeptWatches::TakeLeft(const std::string& filesystem) {
  const std::lock_guard lock(mutex_);
  const auto others = std::stable_partition(left_.begin(), left_.end(),
                                            [&](const Left& one) { return one.filesystem != filesystem; });
  std::vector<Left> taken(std::make_move_iterator(others), std::make_move_iterator(left_.end()));
  left_.erase(others, left_.end());
  return taken;
}

absl::StatusOr<std::unique_ptr<watch::Watcher>> KeptWatches::Open(const watch::Mount& mount) {
  std::unique_ptr<watch::Watcher> found;
  std::string id;
  for (Left& each : TakeLeft(mount.filesystem)) {
    absl::StatusOr<std::unique_ptr<watch::Watcher>> taken = absl::UnknownError("");
    if (found == nullptr) taken = watch::Watcher::Continue(std::move(each.descriptors), mount, bound_);
    if (taken.ok()) {
      found = *std::move(taken);
      id = each.id;
      continue;
    }
    if (!taken.status().message().empty()) log_(Severity::kWarning, std::string(taken.status().message()));
    Forget(each.id);
  }
  if (found == nullptr) {
    auto made = watch::Watcher::Open(mount, bound_);
    if (!made.ok()) return made.status();
    found = *std::move(made);
    id = NewId();
    const auto [queue, buffer] = found->descriptors();
    service_->Keep(Name(kQueue, id), queue);
    service_->Keep(Name(kBuffer, id), buffer);
  }
  const std::lock_guard lock(mutex_);
  running_[found.get()] = id;
  return found;
}

void KeptWatches::Discard(const watch::Watcher* watcher) {
  std::string id;
  {
    const std::lock_guard lock(mutex_);
    const auto known = running_.find(watcher);
    if (known == running_.end()) return;
    id = known->second;
    running_.erase(known);
  }
  Forget(id);
}

void KeptWatches::DiscardUnasked() {
  std::vector<Left> unasked;
  {
    const std::lock_guard lock(mutex_);
    unasked = std::exchange(left_, {});
  }
  for (const Left& each : unasked) Forget(each.id);
}

void KeptWatches::Forget(const std::string& id) const {
  service_->Forget(Name(kQueue, id));
  service_->Forget(Name(kBuffer, id));
}

}  // namespace fanmirror::daemon
