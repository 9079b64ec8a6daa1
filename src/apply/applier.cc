#include "apply/applier.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "apply/failures.h"
#include "model/failure.h"

namespace fanmirror::apply {
namespace {

using model::NodeType;

bool IsSameNode(const Inspected& one, const Inspected& other) {
  return one.inode == other.inode && one.device == other.device;
}

bool IsDirectory(const Inspected& node) { return node.metadata.type == NodeType::kDirectory; }

bool IsBelow(std::string_view path, std::string_view directory) {
  return path.size() > directory.size() && path.starts_with(directory) && path[directory.size()] == '/';
}

absl::Status Refused(Step step, const Root::Place& place, std::string_view path, int errno_value) {
  return StepFailure(step, path, errno_value,
                     errno_value == EPERM ? ChattrCure(place.dir, place.name.c_str(), path) : "");
}

// The EPERM of an op on two places comes from either.
absl::Status Refused(Step step, const model::Op& op, const Root::Place& from, const Root::Place& to,
                     int errno_value) {
  if (errno_value != EPERM) return StepFailure(step, op.path, errno_value);
  std::string cure = ChattrCure(to.dir, to.name.c_str(), op.path);
  if (cure.empty()) cure = ChattrCure(from.dir, from.name.c_str(), op.from);
  return StepFailure(step, op.path, errno_value, cure);
}

// Renames where nothing is; EEXIST where something is.
int RenameToFree(int from_dir, const char* from, int to_dir, const char* to) {
  if (renameat2(from_dir, from, to_dir, to, RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL) return errno;
  // The filesystem has no RENAME_NOREPLACE, or the source is a directory that would go below itself.
  Inspected there;
  if (const int error = Inspect(to_dir, to, &there); error != ENOENT) return error == 0 ? EEXIST : error;
  return renameat(from_dir, from, to_dir, to) == 0 ? 0 : errno;
}

}  // namespace

absl::Status Applier::Apply(const wire::ReceivedOp& op) {
  switch (op.op.kind) {
    case model::Op::Kind::kMake:
      return Make(op);
    case model::Op::Kind::kLink:
      return Link(op.op);
    case model::Op::Kind::kRename:
      return Rename(op.op);
    case model::Op::Kind::kExchange:
      return Exchange(op.op);
    case model::Op::Kind::kRemove:
      return Remove(op.op);
    case model::Op::Kind::kSetMetadata:
      return SetMetadata(op);
    case model::Op::Kind::kPut:
      break;
  }
  return model::Failure(model::Reaction::kReconnect, "a put is no op of this kind");
}

absl::Status Applier::LocateBoth(const model::Op& op, Root::Place* from, Root::Place* to) {
  absl::StatusOr<Root::Place> place = root_->Locate(op.from);
  if (!place.ok()) return place.status();
  *from = std::move(*place);
  place = root_->Locate(op.path);
  if (!place.ok()) return place.status();
  *to = std::move(*place);
  return absl::OkStatus();
}

absl::Status Applier::Make(const wire::ReceivedOp& op) {
  const bool directory = op.metadata.type == NodeType::kDirectory;
  const std::string name = staging_->NextName();
  if (absl::Status status = CreateStaged(op, name); !status.ok()) return status;
  absl::Status dressed = DressStaged(op, name);
  // A directory appears also without an attribute that the target cannot hold: all below it must not suffer
  // for that.
  const bool appears =
      dressed.ok() || (directory && model::ReactionOf(dressed) == model::Reaction::kSkipAndReport);
  absl::Status placed = appears ? PlaceStaged(op, name) : dressed;
  if (placed.ok()) return dressed;
  unlinkat(staging_->fd(), name.c_str(), directory ? AT_REMOVEDIR : 0);
  return placed;
}

absl::Status Applier::CreateStaged(const wire::ReceivedOp& op, const std::string& name) {
  const model::Metadata& metadata = op.metadata;
  const mode_t mode = metadata.mode & 0777;
  int made = 0;
  if (metadata.type == NodeType::kDirectory) {
    made = mkdirat(staging_->fd(), name.c_str(), mode);
  } else if (metadata.type == NodeType::kSymlink) {
    made = symlinkat(op.symlink_target.c_str(), staging_->fd(), name.c_str());
  } else {
    made = mknodat(staging_->fd(), name.c_str(), FormatBits(metadata.type) | mode,
                   makedev(metadata.device_major, metadata.device_minor));
  }
  return made == 0 ? absl::OkStatus() : StepFailure(Step::kCreate, op.op.path, errno);
}

absl::Status Applier::DressStaged(const wire::ReceivedOp& op, const std::string& name) {
  const os::UniqueFd fd(openat(staging_->fd(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return StepFailure(Step::kInspect, op.op.path, errno);
  return DressFresh(fd.get(), op.op.path, op.metadata, op.xattrs);
}

absl::Status Applier::PlaceStaged(const wire::ReceivedOp& op, const std::string& name) {
  const absl::StatusOr<Root::Place> place = root_->Locate(op.op.path);
  if (!place.ok()) return place.status();
  int error = 0;
  if (op.metadata.type == NodeType::kDirectory) {
    error = RenameToFree(staging_->fd(), name.c_str(), place->dir, place->name.c_str());
  } else if (renameat(staging_->fd(), name.c_str(), place->dir, place->name.c_str()) != 0) {
    error = errno;
  }
  return error == 0 ? absl::OkStatus() : Refused(Step::kRename, *place, op.op.path, error);
}

absl::Status Applier::Link(const model::Op& op) {
  Root::Place from, to;
  if (absl::Status status = LocateBoth(op, &from, &to); !status.ok()) return status;
  if (linkat(from.dir, from.name.c_str(), to.dir, to.name.c_str(), 0) == 0) return absl::OkStatus();
  const int error = errno;
  if (error == EEXIST) return LinkOver(op, from, to);
  Inspected what;
  if (error == EPERM && Inspect(from.dir, from.name.c_str(), &what) == 0 && IsDirectory(what)) {
    return NotAsExpected(Step::kLink, op.from, "it is a directory on the target");
  }
  return Refused(Step::kLink, op, from, to, error);
}

absl::Status Applier::LinkOver(const model::Op& op, const Root::Place& from, const Root::Place& to) {
  Inspected what, there;
  if (const int error = Inspect(from.dir, from.name.c_str(), &what); error != 0) {
    return StepFailure(Step::kInspect, op.from, error);
  }
  if (const int error = Inspect(to.dir, to.name.c_str(), &there); error != 0) {
    return StepFailure(Step::kInspect, op.path, error);
  }
  if (IsDirectory(what)) return NotAsExpected(Step::kLink, op.from, "it is a directory on the target");
  // rename(2) of one link over another of the same node does nothing and would leave the staged name.
  if (IsSameNode(what, there)) return absl::OkStatus();
  const std::string name = staging_->NextName();
  if (linkat(from.dir, from.name.c_str(), staging_->fd(), name.c_str(), 0) != 0) {
    return Refused(Step::kLink, op, from, to, errno);
  }
  if (renameat(staging_->fd(), name.c_str(), to.dir, to.name.c_str()) == 0) return absl::OkStatus();
  const int error = errno;
  unlinkat(staging_->fd(), name.c_str(), 0);
  return Refused(Step::kRename, op, from, to, error);
}

absl::Status Applier::Rename(const model::Op& op) {
  Root::Place from, to;
  if (absl::Status status = LocateBoth(op, &from, &to); !status.ok()) return status;
  Inspected what;
  if (const int error = Inspect(from.dir, from.name.c_str(), &what); error != 0) {
    return StepFailure(Step::kRename, op.from, error);
  }
  if (IsDirectory(what)) {
    const int error = RenameToFree(from.dir, from.name.c_str(), to.dir, to.name.c_str());
    if (error != 0) return Refused(Step::kRename, op, from, to, error);
    root_->Forget(op.from);
    root_->Forget(op.path);
    return absl::OkStatus();
  }
  Inspected there;
  if (what.metadata.links > 1 && Inspect(to.dir, to.name.c_str(), &there) == 0 && IsSameNode(what, there)) {
    // rename(2) would do nothing, and `from` has to go.
    if (unlinkat(from.dir, from.name.c_str(), 0) == 0) return absl::OkStatus();
    return Refused(Step::kRemove, from, op.from, errno);
  }
  if (renameat(from.dir, from.name.c_str(), to.dir, to.name.c_str()) == 0) return absl::OkStatus();
  return Refused(Step::kRename, op, from, to, errno);
}

absl::Status Applier::Exchange(const model::Op& op) {
  if (IsBelow(op.path, op.from) || IsBelow(op.from, op.path)) {
    return NotAsExpected(Step::kExchange, op.path, "one of the two is below the other");
  }
  Root::Place from, to;
  if (absl::Status status = LocateBoth(op, &from, &to); !status.ok()) return status;
  int error = 0;
  if (renameat2(from.dir, from.name.c_str(), to.dir, to.name.c_str(), RENAME_EXCHANGE) != 0) error = errno;
  absl::Status status = error == 0        ? absl::OkStatus()
                        : error == EINVAL ? ExchangeThroughLimbo(op, from, to)
                                          : Refused(Step::kExchange, op, from, to, error);
  root_->Forget(op.from);
  root_->Forget(op.path);
  return status;
}

// For filesystems without RENAME_EXCHANGE. A crash midway leaves one of the two in limbo; the source then
// lists the names.
absl::Status Applier::ExchangeThroughLimbo(const model::Op& op, const Root::Place& from,
                                           const Root::Place& to) {
  const std::string aside = absl::StrCat("exchange-", getpid(), "-", staging_->NextName());
  if (renameat(from.dir, from.name.c_str(), limbo_fd_, aside.c_str()) != 0) {
    return Refused(Step::kExchange, op, from, to, errno);
  }
  if (renameat(to.dir, to.name.c_str(), from.dir, from.name.c_str()) != 0) {
    const int error = errno;
    renameat(limbo_fd_, aside.c_str(), from.dir, from.name.c_str());
    return Refused(Step::kExchange, op, from, to, error);
  }
  if (renameat(limbo_fd_, aside.c_str(), to.dir, to.name.c_str()) != 0) {
    return Refused(Step::kExchange, op, from, to, errno);
  }
  return absl::OkStatus();
}

absl::Status Applier::Remove(const model::Op& op) {
  const absl::StatusOr<Root::Place> place = root_->Locate(op.path);
  if (!place.ok()) return MeansAbsent(place.status()) ? absl::OkStatus() : place.status();
  if (unlinkat(place->dir, place->name.c_str(), 0) == 0 || errno == ENOENT) return absl::OkStatus();
  if (errno != EISDIR) return Refused(Step::kRemove, *place, op.path, errno);
  if (unlinkat(place->dir, place->name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) {
    return Refused(Step::kRemove, *place, op.path, errno == EEXIST ? ENOTEMPTY : errno);
  }
  root_->Forget(op.path);
  return absl::OkStatus();
}

absl::Status Applier::SetMetadata(const wire::ReceivedOp& op) {
  const std::string& path = op.op.path;
  const absl::StatusOr<os::UniqueFd> fd = root_->OpenNode(path, O_PATH);
  if (!fd.ok()) return fd.status();
  Inspected now;
  if (const int error = Inspect(fd->get(), "", &now); error != 0)
    return StepFailure(Step::kInspect, path, error);
  if (now.metadata.type != op.metadata.type) {
    return NotAsExpected(Step::kInspect, path, "it is a node of another type on the target");
  }
  return DressExisting(fd->get(), path, now, op.metadata, op.xattrs);
}

}  // namespace fanmirror::apply
