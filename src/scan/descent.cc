#include "scan/descent.h"

#include <optional>

#include "model/failure.h"

namespace fanmirror::scan {

Descent::Descent(const os::Tree* tree, const model::FileId& dir, std::string path)
    : tree_(tree), path_(std::move(path)), dir_length_(path_.size()), dir_(dir) {}

void Descent::AppendToPath(const char* name) {
  if (!path_.empty()) path_ += '/';
  path_ += name;
}

Descent::Event Descent::Fail(absl::Status error) {
  fd_.reset();
  path_.resize(dir_length_);
  error_ = std::move(error);
  return Event::kUnreadable;
}

Descent::Event Descent::Next() {
  if (!fd_) {
    const Event opened = OpenNext();
    if (opened != Event::kEntry) return opened;
  }
  path_.resize(dir_length_);
  int error = 0;
  switch (entries_.Next(&entry_, &error)) {
    case os::Entries::Result::kEntry:
      AppendToPath(entry_.name);
      return Event::kEntry;
    case os::Entries::Result::kError:
      return Fail(model::SystemFailure(model::Reaction::kRetry, "getdents64", path_, error));
    case os::Entries::Result::kEnd:
      break;
  }
  fd_.reset();
  return Event::kListed;
}

// kEntry: the next directory is open; kUnreadable, kGone: it could not be; kDone: there is none.
Descent::Event Descent::OpenNext() {
  if (started_) {
    if (waiting_.empty()) return Event::kDone;
    Siblings& siblings = waiting_.back();
    path_.resize(siblings.path_length);
    AppendToPath(siblings.dirs.back().second.c_str());
    dir_ = siblings.dirs.back().first;
    siblings.dirs.pop_back();
    if (siblings.dirs.empty()) waiting_.pop_back();
  }
  started_ = true;
  pushed_ = false;
  dir_length_ = path_.size();
  absl::StatusOr<std::optional<os::UniqueFd>> opened = tree_->OpenDirectory(dir_);
  if (!opened.ok()) return Fail(opened.status());
  if (!opened->has_value()) return Event::kGone;
  fd_ = *std::move(*opened);
  entries_.Start(fd_.get());
  return Event::kEntry;
}

void Descent::Push(const model::FileId& id, const std::string& name) {
  if (!pushed_) waiting_.push_back({dir_length_, {}});
  pushed_ = true;
  waiting_.back().dirs.emplace_back(id, name);
}

}  // namespace fanmirror::scan
