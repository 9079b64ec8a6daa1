#include "replicate/scanner.h"

#include <algorithm>
#include <utility>

#include "plan/planner.h"
#include "replicate/name_hash.h"

namespace fanmirror::replicate {

using model::FileId;

void Scanner::Start(Kind kind, const FileId& dir, const std::string& path, bool startup, ProofHandle proof) {
  if (kind == Kind::kScan) ++scans_;
  Running running;
  running.walk = scan::Walk::Begin(tree_, selection_, dir, path, kind == Kind::kScan ? scan_threads_ : 1);
  running.kind = kind;
  running.dir = dir;
  running.startup = startup;
  running.proof = std::move(proof);
  walks_.push_back(std::move(running));
}

bool Scanner::Walks(const FileId& dir) const {
  return std::any_of(walks_.begin(), walks_.end(),
                     [&](const Running& running) { return running.dir == dir; });
}

void Scanner::Refill(Running* running, std::size_t max, Looker* looker) {
  scan::Walk::Step step = running->walk->Next(max);
  (running->kind == Kind::kScan ? scanned_ : listed_) += step.seen;
  for (scan::Found& found : step.found) {
    running->seen[found.name.dir].insert(HashName(found.name.name));
    running->found.push_back(std::move(found));
  }
  running->found_ns = step.begun_ns;
  running->listed = std::move(step.listed);
  running->done = step.done;
  for (const auto& [path, status] : step.unreadable) looker->AddUnreadable(running->dir, path, status);
}

ProofHandle Scanner::Step(std::size_t max, std::uint64_t max_bytes, std::int64_t looked_ns, Looker* looker) {
  if (walks_.empty()) return nullptr;
  Running& running = walks_.front();
  ProofHandle proof = running.proof;
  std::size_t taken = 0;
  while (taken < max && looker->bytes() < max_bytes) {
    if (running.found.empty()) {
      for (const FileId& dir : running.listed) {
        looker->AddListed(dir, running.seen[dir], running.startup);
        running.seen.erase(dir);
      }
      running.listed.clear();
      if (running.done) break;
      Refill(&running, max, looker);
      taken += running.found.empty() ? 1 : 0;
      continue;
    }
    const bool stale = running.found_ns <= looked_ns;
    if (!looker->AddFound(running.found.front(), running.startup, stale)) {
      unchanged_ += running.found.front().node.metadata.type != model::NodeType::kDirectory;
    }
    running.found.pop_front();
    ++taken;
  }
  if (running.done && running.found.empty() && running.listed.empty()) {
    finished_.push_back(std::move(running.proof));
    walks_.pop_front();
  }
  return proof;
}

}  // namespace fanmirror::replicate
