#include "replicate/auditor.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "os/clock.h"
#include "os/unique_fd.h"
#include "plan/compare.h"
#include "plan/planner.h"
#include "replicate/name_hash.h"

namespace fanmirror::replicate {

using model::Change;
using model::FileId;
using model::Name;

namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;
constexpr std::size_t kStepNames = Auditor::kNamesPerSecond * Auditor::kStepNs / kSecondNs;

// The mtime of the record; 0 when there is none.
std::int64_t ReadRecord(const std::string& path) {
  struct stat st {};
  return ::stat(path.c_str(), &st) == 0 ? st.st_mtim.tv_sec : 0;
}

// Best effort: if it fails, the next audit comes too early.
void WriteRecord(const std::string& path) {
  const os::UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  if (fd) static_cast<void>(::futimens(fd.get(), nullptr));
}

}  // namespace

Auditor::Auditor(Options options) : options_(std::move(options)), last_unix_s_(ReadRecord(options_.record)) {
  Schedule(os::BoottimeNs());
}

// Counted from the last one that was through, also by an earlier process. What never was is due an interval from now: a
// scan comes first, and counts.
void Auditor::Schedule(std::int64_t now_ns) {
  if (options_.interval_ns == 0) {
    next_step_ns_ = std::numeric_limits<std::int64_t>::max();
    return;
  }
  const std::int64_t now_unix_s = os::RealtimeNs() / kSecondNs;
  const bool known = last_unix_s_ > 0 && last_unix_s_ <= now_unix_s;  // else the clock was set back
  const std::int64_t since_ns = known ? std::min((now_unix_s - last_unix_s_), options_.interval_ns / kSecondNs) * kSecondNs : 0;
  next_step_ns_ = now_ns + options_.interval_ns - since_ns;
}

void Auditor::Passed(std::uint64_t found) {
  found_ += found;
  walk_.reset();
  seen_.clear();
  waiting_.clear();
  last_unix_s_ = os::RealtimeNs() / kSecondNs;
  WriteRecord(options_.record);
  Schedule(os::BoottimeNs());
}

std::vector<Change> Auditor::Step(std::int64_t now_ns) {
  std::vector<Change> changes;
  if (now_ns < next_step_ns_) return changes;
  if (!walk_ && waiting_.empty()) {
    ++started_;
    walk_ = scan::Walk::Begin(options_.tree, options_.selection, options_.tree->root(), "", /*threads=*/1);
  }
  next_step_ns_ = now_ns + kStepNs;
  for (; !waiting_.empty() && waiting_.front().due_ns <= now_ns; waiting_.pop_front()) Judge(waiting_.front(), &changes);
  if (walk_ && waiting_.size() < kMaxWaiting) Walk(now_ns);
  if (!walk_ && waiting_.empty()) Passed(0);
  return changes;
}

void Auditor::Walk(std::int64_t now_ns) {
  const scan::Walk::Step step = walk_->Next(kStepNames);
  scanned_ += step.seen;
  for (const scan::Found& found : step.found) {
    seen_[found.name.dir].insert(HashName(found.name.name));
    if (Compare(found.name, found.node) != Difference::kNone) Await(found.name, found.node.id, now_ns);
  }
  for (const FileId& dir : step.listed) {
    const auto& seen = seen_[dir];
    options_.expected->ForEachChild(dir, [&](const std::string& name, const FileId&) {
      if (!seen.contains(HashName(name))) Await({dir, name}, FileId(), now_ns);
      return true;
    });
    seen_.erase(dir);
  }
  if (step.done) {
    walk_.reset();
    seen_.clear();
  }
}

void Auditor::Await(const Name& name, const FileId& id, std::int64_t now_ns) {
  waiting_.push_back({name, id, now_ns + kSecondLookNs});
}

Auditor::Difference Auditor::Compare(const Name& name, const model::Node& node) const {
  // Its directory did not come to the target yet: when it does, all that is in it is found.
  if (name.dir != options_.tree->root() && !options_.expected->Node(name.dir)) return Difference::kNone;
  const auto record = options_.expected->Node(node.id);
  if (!record || options_.expected->Child(name) != node.id) return Difference::kDiffers;
  const bool suspect = plan::IsSuspect(*record, node.metadata);
  if (plan::Compare(*record, node.metadata, {.written = false, .suspect = suspect}) == plan::Difference::kNone) {
    return Difference::kNone;
  }
  return record->metadata.ctime != node.metadata.ctime ? Difference::kDiffers : Difference::kRacy;
}

// The second look: what is pending by now was told.
void Auditor::Judge(const Waiting& waiting, std::vector<Change>* changes) {
  if (options_.pending(plan::NameChange(waiting.name))) return;
  if (!waiting.id.empty() && options_.pending(plan::NodeChange(waiting.id))) return;
  const auto node = options_.tree->Look(waiting.name);
  if (!node.ok()) return;  // nothing is concluded
  if (!*node) {
    if (!options_.expected->Child(waiting.name)) return;
    ++found_;
    changes->push_back(plan::NameChange(waiting.name));
    return;
  }
  switch (Compare(waiting.name, **node)) {
    case Difference::kNone:
      return;
    case Difference::kRacy:
      changes->push_back(plan::NodeChange((*node)->id));
      return;
    case Difference::kDiffers:
      ++found_;
      changes->push_back(plan::NameChange(waiting.name));
      return;
  }
}

}  // namespace fanmirror::replicate
