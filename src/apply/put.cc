#include "apply/put.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "apply/failures.h"
#include "apply/node.h"
#include "model/failure.h"

namespace fanmirror::apply {
namespace {

// Bytes after which write-back of a large file begins: enough for long runs on the disk, little enough that
// the sync of the batch finds most of the work done.
constexpr std::uint64_t kWritebackBytes = std::uint64_t{8} << 20;

}  // namespace

absl::Status Put::Fail(absl::Status status) {
  Abandon();
  return status;
}

void Put::Abandon() {
  fd_.reset();
  if (!name_.empty()) unlinkat(staging_->fd(), name_.c_str(), 0);
  name_.clear();
}

absl::Status Put::Begin(wire::ReceivedOp op) {
  op_ = std::move(op);
  // A place that cannot be reached is known before the data comes.
  if (const auto place = root_->Locate(op_.op.path); !place.ok()) return place.status();
  std::string name = staging_->NextName();
  fd_.reset(openat(staging_->fd(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                   op_.metadata.mode & 0777));
  if (!fd_) return StepFailure(Step::kCreate, op_.op.path, errno);
  name_ = std::move(name);
  hasher_.Reset();
  end_ = flushed_ = 0;
  return absl::OkStatus();
}

absl::Status Put::Write(const wire::DataFrame& data) {
  if (absl::Status status = WriteAll(data); !status.ok()) return Fail(std::move(status));
  hasher_.Add(data.offset, data.bytes);
  end_ = data.offset + data.bytes.size();
  if (end_ - flushed_ >= kWritebackBytes) {
    // Only a head start: errors come back when the file is placed.
    static_cast<void>(sync_file_range(fd_.get(), static_cast<off_t>(flushed_),
                                      static_cast<off_t>(end_ - flushed_), SYNC_FILE_RANGE_WRITE));
    flushed_ = end_;
  }
  return absl::OkStatus();
}

absl::Status Put::WriteAll(const wire::DataFrame& data) {
  std::string_view bytes = data.bytes;
  auto offset = static_cast<off_t>(data.offset);
  while (!bytes.empty()) {
    const ssize_t written = pwrite(fd_.get(), bytes.data(), bytes.size(), offset);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return StepFailure(Step::kWrite, op_.op.path, written < 0 ? errno : EIO);
    bytes.remove_prefix(static_cast<std::size_t>(written));
    offset += written;
  }
  return absl::OkStatus();
}

absl::StatusOr<StagedFile> Put::Finish(const wire::PutEnd& end) {
  if (absl::Status status = Complete(end); !status.ok()) return Fail(std::move(status));
  return StagedFile{.op = op_.op, .name = std::exchange(name_, {}), .fd = std::move(fd_), .bytes = end_};
}

absl::Status Put::Complete(const wire::PutEnd& end) {
  const std::string& path = op_.op.path;
  if (!(hasher_.Finish(op_.metadata.size) == end.hash)) {
    return NotAsExpected(Step::kWrite, path, "what arrived is not what was read; it will be sent again");
  }
  // A file that shrank while it was read ends in a hole, until its next version comes.
  if (end_ < op_.metadata.size && ftruncate(fd_.get(), static_cast<off_t>(op_.metadata.size)) != 0) {
    return StepFailure(Step::kWrite, path, errno);
  }
  return DressFresh(fd_.get(), path, op_.metadata, op_.xattrs);
}

}  // namespace fanmirror::apply
