#include "os/tree.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "model/failure.h"

namespace fanmirror::os {
namespace {

using model::FileId;
using model::Metadata;
using model::NodeType;
using model::Reaction;

// Looks by name (two system calls each) before the node is held by a descriptor, which is certain and costs one call more:
// an entry seldom becomes another node in between.
constexpr int kLookAttempts = 4;

constexpr unsigned kStatxMask = STATX_TYPE | STATX_MODE | STATX_NLINK | STATX_UID | STATX_GID | STATX_INO |
                                STATX_SIZE | STATX_MTIME | STATX_CTIME;

struct HandleBuffer {
  alignas(file_handle) char bytes[sizeof(file_handle) + MAX_HANDLE_SZ];
  file_handle* get() { return reinterpret_cast<file_handle*>(bytes); }
};

std::optional<NodeType> TypeOf(unsigned mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return NodeType::kRegular;
    case S_IFDIR:
      return NodeType::kDirectory;
    case S_IFLNK:
      return NodeType::kSymlink;
    case S_IFIFO:
      return NodeType::kFifo;
    case S_IFSOCK:
      return NodeType::kSocket;
    case S_IFCHR:
      return NodeType::kCharDevice;
    case S_IFBLK:
      return NodeType::kBlockDevice;
    default:
      return std::nullopt;
  }
}

model::Timestamp TimeOf(const struct statx_timestamp& time) { return {time.tv_sec, time.tv_nsec}; }

bool ToMetadata(const struct statx& from, Metadata* out) {
  const std::optional<NodeType> type = TypeOf(from.stx_mode);
  if (!type) return false;
  out->type = *type;
  out->mode = from.stx_mode & 07777u;
  out->uid = from.stx_uid;
  out->gid = from.stx_gid;
  out->size = *type == NodeType::kRegular || *type == NodeType::kSymlink ? from.stx_size : 0;
  out->mtime = TimeOf(from.stx_mtime);
  out->ctime = TimeOf(from.stx_ctime);
  const bool device = *type == NodeType::kCharDevice || *type == NodeType::kBlockDevice;
  out->device_major = device ? from.stx_rdev_major : 0;
  out->device_minor = device ? from.stx_rdev_minor : 0;
  out->links = from.stx_nlink;
  return true;
}

int Statx(int dir_fd, const char* name, struct statx* out) {
  const int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (*name == '\0' ? AT_EMPTY_PATH : 0);
  return ::statx(dir_fd, name, flags, kStatxMask, out) == 0 ? 0 : errno;
}

template <typename Integer>
std::uint64_t IntegerAt(std::string_view bytes, std::size_t offset) {
  Integer value = 0;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

constexpr int kBtrfsHandle = 0x4d;  // 64-bit inode, 64-bit subvolume, generation

// The inode number that a handle holds, where its layout is known; nullopt elsewhere (overlayfs ...).
std::optional<std::uint64_t> InodeOf(const FileId& id) {
  constexpr int kInode32 = 0x01;  // ext4: inode, generation; tmpfs: generation, inode in two halves
  constexpr int kInode64 = 0x81;  // xfs: 64-bit inode, generation
  const std::string_view bytes = id.bytes();
  if (id.type() == kInode32 && bytes.size() == 8) return IntegerAt<std::uint32_t>(bytes, 0);
  if (id.type() == kInode32 && bytes.size() == 12) return IntegerAt<std::uint64_t>(bytes, 4);
  if (id.type() == kInode64 && bytes.size() == 12) return IntegerAt<std::uint64_t>(bytes, 0);
  if (id.type() == kBtrfsHandle && bytes.size() == 20) return IntegerAt<std::uint64_t>(bytes, 0);
  return std::nullopt;
}

// A snapshot shows each subvolume that was nested in the original as an empty directory, all of them with
// this number and with a handle that cannot be opened. Nothing can be in them, so they are no entries to us.
bool IsSubvolumePlaceholder(const FileId& id) {
  constexpr std::uint64_t kPlaceholderInode = 2;
  return id.type() == kBtrfsHandle && InodeOf(id) == kPlaceholderInode;
}

// Whether `id`, read before, and `inode`, read after, are of one node as far as can be told. A number that
// was given to a new node in between passes; then the old node is gone, and whoever opens it by its id finds
// out.
bool SameNode(const FileId& id, std::uint64_t inode, int dir_fd, const char* name) {
  if (const std::optional<std::uint64_t> expected = InodeOf(id)) return *expected == inode;
  FileId again;
  return IdAt(dir_fd, name, &again) == 0 && again == id;
}

absl::StatusOr<std::optional<UniqueFd>> NoneIfNoDirectory(absl::StatusOr<std::optional<UniqueFd>> opened) {
  if (!opened.ok() && model::ErrnoOf(opened.status()) == ENOTDIR) return std::nullopt;
  return opened;
}

// nullopt for what is no entry to us.
absl::StatusOr<std::optional<model::Node>> ToNode(const std::string& name, const struct statx& found, model::Node node) {
  if (IsSubvolumePlaceholder(node.id)) return std::nullopt;
  if (!ToMetadata(found, &node.metadata)) return model::SystemFailure(Reaction::kSkipAndReport, "statx", name, EINVAL);
  return node;
}

bool IsOneComponent(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

// The reaction to a failure of Open: without privilege or handles nothing can ever work; what is missing may
// come.
Reaction OpenReaction(int error) {
  return error == EPERM || error == EOPNOTSUPP || error == EOVERFLOW || error == ENOSYS ? Reaction::kHaltJob
                                                                                        : Reaction::kRetry;
}

absl::Status OpenFailure(const char* call, const std::string& path, int error) {
  const char* cure = "";
  if (error == EPERM) cure = "run as root";
  if (error == EOPNOTSUPP || error == EOVERFLOW)
    cure = "this filesystem has no usable file handles; mirror another";
  if (error == ENOENT || error == ENOTDIR) cure = "the source must be an existing directory";
  return model::SystemFailure(OpenReaction(error), call, path, error, cure);
}

}  // namespace

int StatAt(int dir_fd, const char* name, Metadata* out) {
  struct statx found;
  if (const int error = Statx(dir_fd, name, &found)) return error;
  return ToMetadata(found, out) ? 0 : EINVAL;
}

int IdAt(int dir_fd, const char* name, FileId* out) {
  HandleBuffer handle;
  handle.get()->handle_bytes = MAX_HANDLE_SZ;
  int mount_id = 0;
  if (::name_to_handle_at(dir_fd, name, handle.get(), &mount_id, *name == '\0' ? AT_EMPTY_PATH : 0) != 0) {
    return errno;
  }
  const std::optional<FileId> id =
      FileId::FromHandle(handle.get()->handle_type,
                         {reinterpret_cast<const char*>(handle.get()->f_handle), handle.get()->handle_bytes});
  if (!id) return EOVERFLOW;
  *out = *id;
  return 0;
}

absl::StatusOr<std::unique_ptr<Tree>> Tree::Open(const std::string& path) {
  const UniqueFd clone(::open_tree(AT_FDCWD, path.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
  if (!clone) return OpenFailure("open_tree", path, errno);
  std::unique_ptr<Tree> tree(new Tree);
  // Not O_PATH: open_by_handle_at refuses that with EBADF.
  tree->root_fd_.reset(::openat(clone.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!tree->root_fd_) return OpenFailure("open", path, errno);
  absl::StatusOr<std::unique_ptr<StaleCheck>> stale = StaleCheck::Create(tree->root_fd());
  if (!stale.ok()) return stale.status();
  tree->stale_ = *std::move(stale);
  if (const int error = IdAt(tree->root_fd(), "", &tree->root_))
    return OpenFailure("name_to_handle_at", path, error);
  return tree;
}

absl::StatusOr<std::optional<UniqueFd>> Tree::OpenHandle(const FileId& id, int flags) const {
  HandleBuffer handle;
  handle.get()->handle_type = id.type();
  handle.get()->handle_bytes = static_cast<unsigned>(id.bytes().size());
  std::memcpy(handle.get()->f_handle, id.bytes().data(), id.bytes().size());
  const auto open = [&] {
    return UniqueFd(::open_by_handle_at(root_fd(), handle.get(), flags | O_NOFOLLOW | O_CLOEXEC));
  };
  UniqueFd fd = open();
  if (fd) return std::optional<UniqueFd>(std::move(fd));
  if (errno != ESTALE)
    return model::SystemFailure(Reaction::kRetry, "open_by_handle_at", id.ToString(), errno);
  if (absl::Status gone = stale_->CheckGone(id, [&] { return !open() && errno == ESTALE; }); !gone.ok())
    return gone;
  return std::nullopt;
}

absl::StatusOr<std::optional<UniqueFd>> Tree::OpenNode(const FileId& id, int flags) const {
  absl::StatusOr<std::optional<UniqueFd>> fd = OpenHandle(id, flags);
  if (!fd.ok() || !fd->has_value()) return fd;
  struct statx found;
  if (const int error = Statx((*fd)->get(), "", &found)) {
    return model::SystemFailure(Reaction::kRetry, "statx", id.ToString(), error);
  }
  // What was removed but is still open somewhere; true of directories, too, on ext4, xfs, btrfs and tmpfs.
  if (found.stx_nlink == 0) return std::nullopt;
  return fd;
}

absl::StatusOr<std::optional<UniqueFd>> Tree::OpenDirectory(const FileId& id) const {
  return NoneIfNoDirectory(OpenNode(id, O_RDONLY | O_DIRECTORY | O_NOATIME));
}

absl::StatusOr<std::optional<UniqueFd>> Tree::HoldDirectory(const FileId& id) const {
  return NoneIfNoDirectory(OpenHandle(id, O_PATH | O_DIRECTORY));
}

absl::StatusOr<std::optional<model::Node>> Tree::Look(const model::Name& name) const {
  absl::StatusOr<std::optional<UniqueFd>> dir = HoldDirectory(name.dir);
  if (!dir.ok()) return dir.status();
  if (!dir->has_value()) return std::nullopt;
  return LookAt((*dir)->get(), name.name);
}

absl::StatusOr<std::optional<model::Node>> Tree::LookAt(int dir_fd, const std::string& name) const {
  if (!IsOneComponent(name)) {
    return model::Failure(Reaction::kSkipAndReport,
                          absl::StrCat("look at ", model::QuotePath(name), ": not the name of an entry"));
  }
  for (int attempt = 0; attempt < kLookAttempts; ++attempt) {
    model::Node node;
    struct statx found;
    const char* call = "name_to_handle_at";
    int error = IdAt(dir_fd, name.c_str(), &node.id);
    if (error == ENOENT) return NoEntry();
    if (error == 0) {
      call = "statx";
      error = Statx(dir_fd, name.c_str(), &found);
    }
    if (error == ENOENT || error == ESTALE) continue;
    if (error != 0) return model::SystemFailure(Reaction::kRetry, call, name, error);
    if (SameNode(node.id, found.stx_ino, dir_fd, name.c_str())) return ToNode(name, found, node);
  }
  return LookHeld(dir_fd, name);
}

absl::StatusOr<std::optional<model::Node>> Tree::NoEntry() const {
  if (absl::Status alive = stale_->CheckAlive(); !alive.ok()) return alive;
  return std::nullopt;
}

absl::StatusOr<std::optional<model::Node>> Tree::LookHeld(int dir_fd, const std::string& name) const {
  const UniqueFd fd(::openat(dir_fd, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!fd && errno == ENOENT) return NoEntry();
  if (!fd) return model::SystemFailure(Reaction::kRetry, "open", name, errno);
  model::Node node;
  struct statx found;
  if (const int error = IdAt(fd.get(), "", &node.id)) {
    return model::SystemFailure(Reaction::kRetry, "name_to_handle_at", name, error);
  }
  if (const int error = Statx(fd.get(), "", &found)) return model::SystemFailure(Reaction::kRetry, "statx", name, error);
  return ToNode(name, found, node);
}

absl::StatusOr<std::optional<model::Node>> Tree::LookNode(const FileId& id) const {
  absl::StatusOr<std::optional<UniqueFd>> fd = OpenHandle(id, O_PATH);
  if (!fd.ok()) return fd.status();
  if (!fd->has_value()) return std::nullopt;
  model::Node node;
  node.id = id;
  if (const int error = StatAt((*fd)->get(), "", &node.metadata)) {
    return model::SystemFailure(Reaction::kRetry, "statx", id.ToString(), error);
  }
  if (node.metadata.links == 0) return std::nullopt;
  return node;
}

}  // namespace fanmirror::os
