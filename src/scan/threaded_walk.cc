#include "scan/threaded_walk.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "model/failure.h"
#include "model/path.h"
#include "os/clock.h"
#include "os/entries.h"
#include "scan/judge.h"

namespace fanmirror::scan {
std::string ThreadedWalk::Waiting::Path() const { return parent == nullptr ? name : model::JoinPath(*parent, name); }

ThreadedWalk::ThreadedWalk(const os::Tree* tree, const Selection* selection, const model::FileId& dir,
                           std::string path, int threads)
    : tree_(tree), selection_(selection), most_waiting_(static_cast<std::size_t>(threads) * kWaitingForEach) {
  directories_.push_back({dir, nullptr, std::move(path)});
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Work(); });
}

ThreadedWalk::~ThreadedWalk() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadedWalk::Work() {
  os::Entries entries;
  std::unique_lock lock(mutex_);
  for (;;) {
    work_.wait(lock, [this] {
      return stopping_ || (HasWork() && steps_.size() < most_waiting_) || (busy_ == 0 && !HasWork());
    });
    if (stopping_ || !HasWork()) break;
    ++busy_;
    // Chunks first: their directories are open.
    if (!chunks_.empty()) {
      Chunk chunk = std::move(chunks_.front());
      chunks_.pop_front();
      lock.unlock();
      Look(std::move(chunk));
    } else {
      const Waiting waiting = std::move(directories_.back());
      directories_.pop_back();
      lock.unlock();
      List(waiting, &entries);
    }
    lock.lock();
    --busy_;
    if (busy_ == 0 && !HasWork()) break;
  }
  lock.unlock();
  work_.notify_all();
  ready_.notify_all();
}

void ThreadedWalk::List(const Waiting& waiting, os::Entries* entries) {
  auto directory = std::make_shared<Directory>();
  directory->id = waiting.id;
  directory->path = std::make_shared<const std::string>(waiting.Path());
  absl::StatusOr<std::optional<os::UniqueFd>> opened = tree_->OpenDirectory(waiting.id);
  if (!opened.ok()) return Deliver({.failed = opened.status()}, directory.get());
  if (!opened->has_value()) return;
  directory->fd = *std::move(*opened);
  ListNames(directory, entries);
}

void ThreadedWalk::ListNames(const std::shared_ptr<Directory>& directory, os::Entries* entries) {
  entries->Start(directory->fd.get());
  os::Entries::Entry entry;
  Chunk chunk{.directory = directory};
  int error = 0;
  os::Entries::Result result;
  while ((result = entries->Next(&entry, &error)) == os::Entries::Result::kEntry) {
    chunk.names.push_back({entry.inode, entry.name, entry.type});
    chunk.path_bytes += directory->path->size() + chunk.names.back().name.size();
    if (chunk.names.size() < kChunkNames && chunk.path_bytes < kChunkPathBytes) continue;
    if (!HandOver(std::exchange(chunk, {.directory = directory}))) return;
  }
  if (!chunk.names.empty()) {
    {
      const std::lock_guard lock(mutex_);
      ++directory->parts;
    }
    Look(std::move(chunk));
  }
  Result end;
  if (result == os::Entries::Result::kError) {
    end.failed = model::SystemFailure(model::Reaction::kRetry, "getdents64", *directory->path, error);
  }
  Deliver(std::move(end), directory.get());
}

bool ThreadedWalk::HandOver(Chunk chunk) {
  std::unique_lock lock(mutex_);
  work_.wait(lock,
             [this] { return stopping_ || chunks_.size() < most_waiting_ || steps_.size() < most_waiting_; });
  if (stopping_) return false;
  ++chunk.directory->parts;
  if (chunks_.size() < most_waiting_) {
    chunks_.push_back(std::move(chunk));
    work_.notify_all();
    return true;
  }
  lock.unlock();
  Look(std::move(chunk));
  return true;
}

void ThreadedWalk::Look(Chunk chunk) {
  std::ranges::sort(chunk.names, {}, &Name::inode);
  Directory* const directory = chunk.directory.get();
  Result result;
  result.step.begun_ns = os::BoottimeNs();
  for (Name& name : chunk.names) {
    ++result.step.seen;
    std::string path = model::JoinPath(*directory->path, name.name);
    absl::StatusOr<std::optional<model::Node>> node =
        JudgeEntry(*tree_, *selection_, directory->fd.get(), name.name, path, name.type);
    if (!node.ok()) {
      if (result.failed.ok()) result.failed = node.status();
      continue;
    }
    if (!node->has_value()) continue;
    if ((*node)->metadata.type == model::NodeType::kDirectory) {
      result.directories.push_back({(*node)->id, directory->path, name.name});
    }
    result.step.found.push_back({{directory->id, std::move(name.name)}, std::move(path), **std::move(node)});
  }
  Deliver(std::move(result), directory);
}

void ThreadedWalk::Deliver(Result result, Directory* directory) {
  std::unique_lock lock(mutex_);
  // Nothing is concluded from a listing with a gap: that is told once, and the directory is not called
  // listed.
  if (!result.failed.ok() && std::exchange(directory->whole, false)) {
    result.step.unreadable.emplace_back(*directory->path, std::move(result.failed));
  }
  if (--directory->parts == 0 && directory->whole) result.step.listed.push_back(directory->id);
  const bool says_something =
      result.step.seen > 0 || !result.step.listed.empty() || !result.step.unreadable.empty();
  if (says_something) steps_.push_back(std::move(result.step));
  for (Waiting& waiting : result.directories) directories_.push_back(std::move(waiting));
  const bool many = !result.directories.empty();
  lock.unlock();
  if (many) work_.notify_all();
  if (says_something) ready_.notify_one();
}

Walk::Step ThreadedWalk::Next(std::size_t max) {
  if (given_ == current_.found.size()) {
    std::unique_lock lock(mutex_);
    ready_.wait(lock, [this] { return !steps_.empty() || HasEnded(); });
    if (steps_.empty()) {
      Step end;
      end.done = true;
      return end;
    }
    current_ = std::move(steps_.front());
    given_ = 0;
    steps_.pop_front();
    lock.unlock();
    work_.notify_all();
  }
  Step step;
  step.seen = std::exchange(current_.seen, 0);
  step.begun_ns = current_.begun_ns;
  const std::size_t end = std::min(given_ + std::max<std::size_t>(max, 1), current_.found.size());
  for (; given_ < end; ++given_) step.found.push_back(std::move(current_.found[given_]));
  if (given_ < current_.found.size()) return step;
  step.listed = std::exchange(current_.listed, {});
  step.unreadable = std::exchange(current_.unreadable, {});
  return step;
}

}  // namespace fanmirror::scan
