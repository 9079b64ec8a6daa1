#include "simulation/source.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "simulation/failure.h"
#include "simulation/kernel.h"

namespace fanmirror::simulation {

using replicate::Severity;

SimulatedSession::SimulatedSession(replicate::SessionOptions options, Surroundings* surroundings, Random* random,
                                   SimulatedSession** self)
    : options_(std::move(options)), surroundings_(surroundings), self_(self), wire_(random) {
  *self_ = this;
  auto dialogue = replicate::Dialogue::Begin(options_);
  Require(dialogue.ok(), "begin a dialogue: " + std::string(dialogue.status().message()));
  dialogue_ = *std::move(dialogue);
  const absl::Status connected = surroundings_->Connect(&wire_);
  if (!connected.ok()) End(connected);
}

SimulatedSession::~SimulatedSession() {
  *self_ = nullptr;
  surroundings_->Disconnect(&wire_);
}

void SimulatedSession::End(const absl::Status& status) {
  ended_ = true;
  Trace::Get().Add(absl::StrCat("session: ends: ", std::string(status.message())));
  options_.on_event(replicate::Lost{status});
}

bool SimulatedSession::Turn() {
  if (ended_) return false;
  const SideScope scope(Side::kSource);
  const auto moved = dialogue_->Turn(&link_);
  if (moved.ok()) return *moved;
  End(moved.status());
  return true;
}

void SimulatedReplicator::WaitUntil(std::int64_t deadline_ns, absl::FunctionRef<bool()> ready) {
  const SideScope scope(Side::kNobody);
  surroundings_->Pump(deadline_ns, [&] {
    const std::lock_guard lock(mutex_);
    return ready();
  });
}

std::unique_ptr<replicate::Session> SimulatedReplicator::NewSession(replicate::SessionOptions options) {
  return std::make_unique<SimulatedSession>(std::move(options), surroundings_, random_, &current_);
}

select::Filter SourceProcess::Filter() {
  std::vector<select::Rule> rules(2);
  rules[0].pattern = "*.tmp";
  rules[1].pattern = "/cache/";
  auto filter = select::Filter::Compile(rules);
  Require(filter.ok(), "compile the filter");
  return *std::move(filter);
}

namespace {
// More than errors come in a row.
constexpr int kOpenAttempts = 50;
constexpr std::int64_t kOpenPauseNs = 1'000'000'000;
}  // namespace

SourceProcess::SourceProcess(const Start& start, Surroundings* surroundings, Random* random) {
  const SideScope scope(Side::kSource);
  auto tree = os::Tree::Open(start.source);
  // The disk's errors pass; the daemon opens its source again, too.
  for (int attempt = 0; !tree.ok() && attempt < kOpenAttempts; ++attempt) {
    Kernel::Get().Advance(kOpenPauseNs);
    tree = os::Tree::Open(start.source);
  }
  Require(tree.ok(), "open the source: " + std::string(tree.status().message()));
  tree_ = *std::move(tree);
  replicate::Options options;
  options.job = "job";
  options.target = "target";
  options.source = start.source;
  options.tree = tree_.get();
  options.filesystem = "the filesystem";
  options.filter = Filter();
  options.state_dir = start.state_dir;
  options.memory = start.memory;
  options.round_names = start.round_names;
  options.settle = absl::Milliseconds(10);
  options.max_delay = absl::Milliseconds(100);
  options.log = [](Severity severity, std::string_view line) {
    Trace::Get().Add(absl::StrCat(severity >= Severity::kWarning ? "source: WARNING " : "source: ", std::string(line)));
  };
  auto stores = replicate::OpenStores(options);
  if (!stores.ok()) {
    Trace::Get().Add(absl::StrCat("source: ", std::string(stores.status().message())));
    throw SourceDied{};
  }
  replicator_ = std::make_unique<SimulatedReplicator>(options, *std::move(stores), surroundings, random);
  dispatch_.Add({.tree = tree_.get(),
                 .filter = options.filter,
                 .ignored = {},
                 .changed = [this](absl::Span<const model::Change> changes) { replicator_->Changed(changes); },
                 .lost = [this] { replicator_->Rescan(); }});
  replicator_->NoteStart();
}

SourceProcess::~SourceProcess() {
  const SideScope scope(Side::kSource);
  replicator_.reset();
}

void SourceProcess::Turn() {
  const SideScope scope(Side::kSource);
  replicator_->Turn();
  replicator_->Wait();
}

void SourceProcess::Stop() {
  const SideScope scope(Side::kSource);
  replicator_->Finish();
}

void SourceProcess::Lose() {
  const SideScope scope(Side::kSource);
  dispatch_.Lose();
}

}  // namespace fanmirror::simulation
