#include "apply/node.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>

#include "absl/strings/str_cat.h"
#include "apply/failures.h"

namespace fanmirror::apply {
namespace {

constexpr std::uint32_t kSpecialBits = 07000;  // setuid, setgid, sticky: creation and chown may drop them

// The path of an open node for the calls that take no O_PATH descriptor. It leads to that very node, a
// symlink, too.
class ProcPath {
 public:
  explicit ProcPath(int fd) { std::snprintf(path_, sizeof path_, "/proc/self/fd/%d", fd); }
  const char* c_str() const { return path_; }

 private:
  char path_[32];
};

absl::Status Failed(Step step, int fd, std::string_view path, int errno_value) {
  return StepFailure(step, path, errno_value, errno_value == EPERM ? ChattrCure(fd, "", path) : "");
}

absl::Status SetOwner(int fd, std::string_view path, const model::Metadata& metadata) {
  if (fchownat(fd, "", metadata.uid, metadata.gid, AT_EMPTY_PATH) == 0) return absl::OkStatus();
  return Failed(Step::kOwner, fd, path, errno);
}

absl::Status SetMode(int fd, std::string_view path, const model::Metadata& metadata) {
  if (chmod(ProcPath(fd).c_str(), metadata.mode) == 0) return absl::OkStatus();
  return Failed(Step::kMode, fd, path, errno);
}

absl::Status SetMtime(int fd, std::string_view path, const model::Metadata& metadata) {
  const timespec times[2] = {
      {0, UTIME_OMIT},
      {static_cast<time_t>(metadata.mtime.seconds), static_cast<long>(metadata.mtime.nanoseconds)}};
  if (utimensat(fd, "", times, AT_EMPTY_PATH) == 0) return absl::OkStatus();
  return Failed(Step::kTimes, fd, path, errno);
}

absl::Status XattrFailure(int fd, std::string_view path, const std::string& name, int errno_value) {
  if (errno_value == EPERM) return Failed(Step::kXattr, fd, path, errno_value);
  const absl::Status plain = StepFailure(Step::kXattr, path, errno_value);
  absl::Status named =
      model::Failure(model::ReactionOf(plain),
                     absl::StrCat(std::string(plain.message()), " (", model::QuotePath(name), ")"));
  return named;
}

absl::Status SetXattr(int fd, const ProcPath& node, std::string_view path, const model::Xattr& xattr) {
  if (setxattr(node.c_str(), xattr.name.c_str(), xattr.value.data(), xattr.value.size(), 0) == 0) {
    return absl::OkStatus();
  }
  return XattrFailure(fd, path, xattr.name, errno);
}

// The names of the node's xattrs; 0 or an errno. A filesystem without xattrs has none.
int ListXattrs(const ProcPath& node, std::vector<std::string>* names) {
  std::string list(1024, '\0');
  ssize_t size = listxattr(node.c_str(), list.data(), list.size());
  if (size < 0 && errno == ERANGE) {
    list.resize(XATTR_LIST_MAX);
    size = listxattr(node.c_str(), list.data(), list.size());
  }
  if (size < 0) return errno == EOPNOTSUPP ? 0 : errno;
  for (const char* at = list.data(); at < list.data() + size; at += names->back().size() + 1)
    names->emplace_back(at);
  return 0;
}

bool HasXattr(const ProcPath& node, const model::Xattr& xattr) {
  std::string value(xattr.value.size() + 1, '\0');
  const ssize_t size = getxattr(node.c_str(), xattr.name.c_str(), value.data(), value.size());
  return size >= 0 && std::string_view(value.data(), static_cast<std::size_t>(size)) == xattr.value;
}

absl::Status MakeXattrsExact(int fd, std::string_view path, absl::Span<const model::Xattr> xattrs) {
  const ProcPath node(fd);
  std::vector<std::string> names;
  if (const int error = ListXattrs(node, &names); error != 0) return Failed(Step::kXattr, fd, path, error);
  for (const std::string& name : names) {
    const bool listed =
        std::any_of(xattrs.begin(), xattrs.end(), [&](const auto& x) { return x.name == name; });
    if (listed || !model::IsMirrored(name) || name == model::kSelinuxXattr) continue;
    if (removexattr(node.c_str(), name.c_str()) != 0 && errno != ENODATA)
      return XattrFailure(fd, path, name, errno);
  }
  for (const model::Xattr& xattr : xattrs) {
    if (HasXattr(node, xattr)) continue;
    if (absl::Status status = SetXattr(fd, node, path, xattr); !status.ok()) return status;
  }
  return absl::OkStatus();
}

std::optional<model::NodeType> TypeOf(std::uint16_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return model::NodeType::kRegular;
    case S_IFDIR:
      return model::NodeType::kDirectory;
    case S_IFLNK:
      return model::NodeType::kSymlink;
    case S_IFIFO:
      return model::NodeType::kFifo;
    case S_IFSOCK:
      return model::NodeType::kSocket;
    case S_IFCHR:
      return model::NodeType::kCharDevice;
    case S_IFBLK:
      return model::NodeType::kBlockDevice;
    default:
      return std::nullopt;
  }
}

}  // namespace

int Inspect(int dir_fd, const char* name, Inspected* out) {
  struct statx st {};
  const int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (*name == '\0' ? AT_EMPTY_PATH : 0);
  if (statx(dir_fd, name, flags, STATX_BASIC_STATS, &st) != 0) return errno;
  const std::optional<model::NodeType> type = TypeOf(st.stx_mode);
  if (!type) return EOPNOTSUPP;
  model::Metadata& metadata = out->metadata;
  metadata = {};
  metadata.type = *type;
  metadata.mode = st.stx_mode & 07777u;
  metadata.uid = st.stx_uid;
  metadata.gid = st.stx_gid;
  if (*type == model::NodeType::kRegular || *type == model::NodeType::kSymlink) metadata.size = st.stx_size;
  metadata.mtime = {st.stx_mtime.tv_sec, st.stx_mtime.tv_nsec};
  metadata.ctime = {st.stx_ctime.tv_sec, st.stx_ctime.tv_nsec};
  if (*type == model::NodeType::kCharDevice || *type == model::NodeType::kBlockDevice) {
    metadata.device_major = st.stx_rdev_major;
    metadata.device_minor = st.stx_rdev_minor;
  }
  metadata.links = st.stx_nlink;
  out->inode = st.stx_ino;
  out->device = makedev(st.stx_dev_major, st.stx_dev_minor);
  return 0;
}

mode_t FormatBits(model::NodeType type) {
  switch (type) {
    case model::NodeType::kRegular:
      return S_IFREG;
    case model::NodeType::kDirectory:
      return S_IFDIR;
    case model::NodeType::kSymlink:
      return S_IFLNK;
    case model::NodeType::kFifo:
      return S_IFIFO;
    case model::NodeType::kSocket:
      return S_IFSOCK;
    case model::NodeType::kCharDevice:
      return S_IFCHR;
    case model::NodeType::kBlockDevice:
      return S_IFBLK;
  }
  return 0;
}

absl::Status DressFresh(int fd, std::string_view path, const model::Metadata& metadata,
                        absl::Span<const model::Xattr> xattrs) {
  if (metadata.uid != geteuid() || metadata.gid != getegid()) {
    if (absl::Status status = SetOwner(fd, path, metadata); !status.ok()) return status;
  }
  if ((metadata.mode & kSpecialBits) != 0 && metadata.type != model::NodeType::kSymlink) {
    if (absl::Status status = SetMode(fd, path, metadata); !status.ok()) return status;
  }
  const ProcPath node(fd);
  for (const model::Xattr& xattr : xattrs) {
    if (absl::Status status = SetXattr(fd, node, path, xattr); !status.ok()) return status;
  }
  return SetMtime(fd, path, metadata);
}

absl::Status DressExisting(int fd, std::string_view path, const Inspected& now,
                           const model::Metadata& metadata, absl::Span<const model::Xattr> xattrs) {
  const bool owner_differs = now.metadata.uid != metadata.uid || now.metadata.gid != metadata.gid;
  if (owner_differs) {
    if (absl::Status status = SetOwner(fd, path, metadata); !status.ok()) return status;
  }
  const bool mode_differs =
      now.metadata.mode != metadata.mode || (owner_differs && (metadata.mode & kSpecialBits) != 0);
  if (mode_differs && metadata.type != model::NodeType::kSymlink) {
    if (absl::Status status = SetMode(fd, path, metadata); !status.ok()) return status;
  }
  if (absl::Status status = MakeXattrsExact(fd, path, xattrs); !status.ok()) return status;
  if (now.metadata.mtime == metadata.mtime) return absl::OkStatus();
  return SetMtime(fd, path, metadata);
}

}  // namespace fanmirror::apply
