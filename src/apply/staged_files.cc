#include "apply/staged_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "apply/failures.h"
#include "apply/paths.h"

namespace fanmirror::apply {

StagedFiles::~StagedFiles() {
  for (const StagedFile& file : files_) unlinkat(staging_->fd(), file.name.c_str(), 0);
}

void StagedFiles::Add(StagedFile file) {
  // Only a head start: errors come back from the waiting.
  if (file.bytes > 0) static_cast<void>(sync_file_range(file.fd.get(), 0, 0, SYNC_FILE_RANGE_WRITE));
  bytes_ += file.bytes;
  paths_.insert(file.op.path);
  files_.push_back(std::move(file));
}

bool StagedFiles::Touches(const model::Op& op) const {
  if (paths_.empty()) return false;
  if (CoversPath(paths_, op.path) || HoldsBelow(paths_, op.path)) return true;
  return !op.from.empty() && (CoversPath(paths_, op.from) || HoldsBelow(paths_, op.from));
}

void StagedFiles::Place(const std::function<void(const StagedFile&, const absl::Status&)>& failed) {
  for (const StagedFile& file : files_) {
    const absl::Status status = PlaceOne(file);
    if (status.ok()) continue;
    unlinkat(staging_->fd(), file.name.c_str(), 0);
    failed(file, status);
  }
  files_.clear();
  paths_.clear();
  bytes_ = 0;
}

absl::Status StagedFiles::PlaceOne(const StagedFile& file) {
  const std::string& path = file.op.path;
  constexpr unsigned kWrittenOut =
      SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  if (file.bytes > 0 && sync_file_range(file.fd.get(), 0, 0, kWrittenOut) != 0) {
    return StepFailure(Step::kWrite, path, errno);
  }
  const absl::StatusOr<Root::Place> place = root_->Locate(path);
  if (!place.ok()) return place.status();
  if (renameat(staging_->fd(), file.name.c_str(), place->dir, place->name.c_str()) == 0)
    return absl::OkStatus();
  const int error = errno;
  return StepFailure(Step::kRename, path, error,
                     error == EPERM ? ChattrCure(place->dir, place->name.c_str(), path) : "");
}

}  // namespace fanmirror::apply
