#include "simulation/target.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "apply/root.h"
#include "simulation/failure.h"
#include "simulation/kernel.h"

namespace fanmirror::simulation {
namespace {

constexpr std::size_t kOlderImages = 4;
// Changes between two images of what the disk may hold.
constexpr std::uint64_t kChangesBetweenImages = 12;

}  // namespace

// Syncs and acknowledges in steps of its driver, where the real one has a thread.
class Receiver::Syncer : public apply::Syncer {
 public:
  Syncer(Calls calls, Syncer** self) : calls_(std::move(calls)), self_(self) { *self_ = this; }
  ~Syncer() override { *self_ = nullptr; }

  void Ended(wire::Ack ack) override { waiting_.push_back(std::move(ack)); }
  absl::Status Drain() override {
    while (failure_.ok() && Step()) {
    }
    return failure_;
  }
  int failed_fd() const override { return -1; }

  bool Step() {
    if (!failure_.ok()) return false;
    if (!synced_.empty()) {
      failure_ = calls_.acknowledge(synced_.front());
      synced_.pop_front();
      return true;
    }
    if (waiting_.empty()) return false;
    failure_ = calls_.sync();
    if (failure_.ok()) synced_ = std::exchange(waiting_, {});
    return true;
  }
  const absl::Status& failure() const { return failure_; }

 private:
  Calls calls_;
  Syncer** self_;
  std::deque<wire::Ack> waiting_;
  std::deque<wire::Ack> synced_;
  absl::Status failure_;
};

Receiver::Receiver(const std::string& root) {
  const SideScope scope(Side::kTarget);
  session_ = std::make_unique<apply::Session>(
      apply::Session::Options{.root = apply::Root::Open(root), .output = &output_, .make_syncer = [this](Syncer::Calls calls) {
                                return std::make_unique<Syncer>(std::move(calls), &syncer_);
                              }});
  Finish(session_->Greet());
}

Receiver::~Receiver() {
  const SideScope scope(Side::kTarget);
  Kill("gone");
  session_.reset();
}

void Receiver::Finish(const absl::Status& status) {
  if (status.ok() || !running_) return;
  running_ = false;
  end_ = std::string(status.message());
  Trace::Get().Add("receiver: ends: " + end_);
}

void Receiver::Kill(std::string_view how) {
  if (!running_) return;
  running_ = false;
  end_ = how;
  Trace::Get().Add(absl::StrCat("receiver: ", std::string(how)));
}

bool Receiver::Feed(std::string_view bytes) {
  const SideScope scope(Side::kTarget);
  while (running_ && !bytes.empty()) {
    const absl::Span<char> space = session_->Space();
    const std::size_t size = std::min(space.size(), bytes.size());
    std::memcpy(space.data(), bytes.data(), size);
    bytes.remove_prefix(size);
    Finish(session_->Fed(size));
  }
  return running_;
}

void Receiver::EndInput() {
  if (!running_) return;
  const SideScope scope(Side::kTarget);
  Finish(session_->End());
  running_ = false;
}

bool Receiver::Step() {
  if (!running_ || syncer_ == nullptr) return false;
  const SideScope scope(Side::kTarget);
  if (!syncer_->Step()) return false;
  Finish(syncer_->failure());
  return true;
}

Target::Target(std::string root, Random* random) : root_(std::move(root)), random_(random), reader_(root_, false) {
  Require(mkdir(root_.c_str(), 0755) == 0, "make the target");
  durable_ = reader_.Read();
  Kernel::Get().before_change = [this](const char* call, const char* name) { return BeforeChange(call, name); };
  Kernel::Get().write_out = [this](int fd) { return WriteOut(fd); };
  Kernel::Get().sync = [this] { return Sync(); };
}

Target::~Target() {
  receiver_.reset();
  Kernel::Get().before_change = nullptr;
  Kernel::Get().write_out = nullptr;
  Kernel::Get().sync = nullptr;
}

void Target::StartReceiver() {
  receiver_.reset();  // a stale one gives way
  receiver_ = std::make_unique<Receiver>(root_);
}

void Target::KillReceiver(std::string_view how) {
  if (receiver_) receiver_->Kill(how);
}

int Target::BeforeChange(const char* call, const char* name) {
  if (!receiver_ || !receiver_->running()) return receiver_ ? EIO : 0;  // dead; or about to be made
  Kernel::Get().Advance(static_cast<std::int64_t>(random_->Below(20'000)));
  if (random_->OneIn(faults.crash)) {
    receiver_->Kill(absl::StrCat("dies before ", call, " ", name));
    return EIO;
  }
  if (random_->OneIn(faults.failing_call)) {
    const int error = random_->Pick(std::vector<int>{EIO, ENOSPC, EDQUOT, EPERM});
    Trace::Get().Add(absl::StrCat("receiver: ", call, " ", name, " fails: ", strerror(error)));
    return error;
  }
  const bool places = std::string_view(call) != "openat" && std::string_view(call) != "unlinkat" && *name != '\0';
  if (faults.refusal != 0 && places && faults.refused_name == name) return faults.refusal;
  if (faults.power_may_fail && random_->OneIn(kChangesBetweenImages)) between_.push_back(reader_.Read());
  return 0;
}

int Target::WriteOut(int fd) {
  if (const int error = BeforeChange("sync_file_range", "")) return error;
  struct stat st {};
  Require(fstat(fd, &st) == 0, "look at a file of the receiver");
  written_out_.insert(st.st_ino);
  return 0;
}

int Target::Sync() {
  if (receiver_ && !receiver_->running()) return EIO;
  if (random_->OneIn(faults.failing_sync)) return EIO;
  // A target without the marker is refused before a person looks at it: that is no older state of it.
  if (!durable_.contains(".fanmirror/marker")) {
  } else if (older_.size() < kOlderImages) {
    older_.push_back(durable_);
  } else if (random_->OneIn(3)) {
    older_[random_->Below(kOlderImages)] = durable_;
  }
  durable_ = reader_.Read();
  between_.clear();
  Trace::Get().Add("target: syncs");
  if (on_durable) on_durable();
  return 0;
}

void Target::LosePower() {
  receiver_.reset();
  Image image = between_.empty() || random_->OneIn(2) ? durable_ : random_->Pick(between_);
  // The data of a file may be missing while its name is there, if nobody waited for it.
  for (auto& [path, node] : image) {
    const auto safe = durable_.find(path);
    const bool is_new = safe == durable_.end() || safe->second.inode != node.inode;
    if (!is_new || !node.IsRegular() || path.starts_with(".fanmirror") || written_out_.contains(node.inode)) continue;
    if (random_->OneIn(3)) node.content.clear();
  }
  Trace::Get().Add("target: loses power");
  WriteImage(root_, image);
  durable_ = reader_.Read();
  between_.clear();
  written_out_.clear();
}

bool Target::RestoreOlder() {
  if (older_.empty()) return false;
  receiver_.reset();
  Trace::Get().Add("target: is restored from an older state");
  WriteImage(root_, random_->Pick(older_));
  durable_ = reader_.Read();
  between_.clear();
  return true;
}

}  // namespace fanmirror::simulation
