#include "apply/home.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "apply/lock.h"
#include "apply/marker.h"
#include "model/failure.h"
#include "os/entries.h"

namespace fanmirror::apply {
namespace {

absl::Status Failed(std::string_view call, const std::string& path, int errno_value) {
  return model::SystemFailure(model::Reaction::kReconnect, call, path, errno_value,
                              errno_value == EROFS ? "remount the target's filesystem read-write" : "");
}

absl::Status Refuse(const std::string& why) { return model::Failure(model::Reaction::kReconnect, why); }

// Calls `visit` for each entry of `name` in `dir_fd`, until it returns false.
absl::Status ForEachEntry(int dir_fd, const char* name,
                          absl::FunctionRef<bool(const os::Entries::Entry&)> visit) {
  const os::UniqueFd fd(openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return Failed("open", name, errno);
  os::Entries entries;
  entries.Start(fd.get());
  for (;;) {
    os::Entries::Entry entry;
    int error = 0;
    const os::Entries::Result result = entries.Next(&entry, &error);
    if (result == os::Entries::Result::kError) return Failed("list", name, error);
    if (result == os::Entries::Result::kEnd || !visit(entry)) return absl::OkStatus();
  }
}

enum class Contents { kNothing, kLostAndFound, kData };

absl::StatusOr<Contents> ContentsOf(const Root& root) {
  Contents contents = Contents::kNothing;
  const absl::Status status = ForEachEntry(root.fd(), ".", [&](const os::Entries::Entry& entry) {
    const std::string_view name = entry.name;
    if (name == kHomeName) return true;
    contents = name == "lost+found" ? Contents::kLostAndFound : Contents::kData;
    return contents != Contents::kData;
  });
  if (!status.ok()) return status;
  return contents;
}

// A directory of ours: private, and free of what it may have inherited from the user's directories (group,
// default ACLs), because all that is made in it would inherit it in turn.
absl::StatusOr<os::UniqueFd> OpenOwn(int dir_fd, const std::string& name) {
  if (mkdirat(dir_fd, name.c_str(), 0700) != 0 && errno != EEXIST) return Failed("mkdir", name, errno);
  os::UniqueFd fd(openat(dir_fd, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return Failed("open", name, errno);
  struct stat st {};
  if (fstat(fd.get(), &st) != 0) return Failed("stat", name, errno);
  if (st.st_uid != geteuid()) {
    return Refuse(absl::StrCat("open ", model::QuotePath(name), ": it belongs to another user; remove it"));
  }
  for (const char* acl : {"system.posix_acl_default", "system.posix_acl_access"}) {
    if (fremovexattr(fd.get(), acl) != 0 && errno != ENODATA && errno != EOPNOTSUPP) {
      return Failed("removexattr", name, errno);
    }
  }
  if (st.st_gid != getegid() && fchown(fd.get(), geteuid(), getegid()) != 0)
    return Failed("chown", name, errno);
  if (fchmod(fd.get(), 0700) != 0) return Failed("chmod", name, errno);
  return fd;
}

// What a receiver that was ended left behind: files and directories without content.
absl::Status EmptyStaging(int staging_fd) {
  absl::Status failed;
  const absl::Status listed = ForEachEntry(staging_fd, ".", [&](const os::Entries::Entry& entry) {
    if (unlinkat(staging_fd, entry.name, 0) == 0) return true;
    if (errno == EISDIR && unlinkat(staging_fd, entry.name, AT_REMOVEDIR) == 0) return true;
    failed = Failed("remove", absl::StrCat(".fanmirror/staging/", entry.name), errno);
    return false;
  });
  return failed.ok() ? listed : failed;
}

// Whether this source may have this root.
absl::Status Admit(const Root& root, const FoundMarker& found, Contents contents, const wire::Hello& hello) {
  if (hello.adopt) return absl::OkStatus();
  const std::string where = model::QuotePath(root.path());
  if (!found.exists && hello.established) {
    return Refuse(absl::StrCat("open ", where, ": its marker .fanmirror/marker is missing, and this target was mirrored ",
                               "before; is the target's disk mounted? to begin anew in this directory, use adopt"));
  }
  if (!found.exists) {
    if (contents != Contents::kData) return absl::OkStatus();
    return Refuse(absl::StrCat("open ", where,
                               ": it holds data but no marker of fanmirror; is the target's disk mounted? ",
                               "to take the directory over as it is, use adopt"));
  }
  if (!found.marker) {
    return Refuse(absl::StrCat("open ", where,
                               ": its marker .fanmirror/marker is damaged; use adopt to write it anew"));
  }
  if (found.marker->instance != hello.instance || found.marker->job != hello.job) {
    return Refuse(absl::StrCat("open ", where, ": it is the mirror of job ",
                               model::QuotePath(found.marker->job), " of ",
                               model::QuotePath(found.marker->source), ", instance ", found.marker->instance,
                               "; to take it over for job ", model::QuotePath(hello.job), " of ",
                               model::QuotePath(hello.source), ", use adopt"));
  }
  return absl::OkStatus();
}

}  // namespace

bool IsReserved(std::string_view path) {
  if (!path.starts_with(kHomeName)) return false;
  const std::string_view rest = path.substr(kHomeName.size());
  if (!rest.empty() && rest.front() != '/') return false;
  return !(path.starts_with(kLimboPath) && path.size() > kLimboPath.size() + 1 &&
           path[kLimboPath.size()] == '/');
}

absl::StatusOr<std::unique_ptr<Home>> Home::Enter(const Root& root, const wire::Hello& hello) {
  auto home = std::unique_ptr<Home>(new Home);
  if (absl::Status status = home->Prepare(root, hello); !status.ok()) return status;
  return home;
}

absl::Status Home::Prepare(const Root& root, const wire::Hello& hello) {
  const absl::StatusOr<Contents> contents = ContentsOf(root);
  if (!contents.ok()) return contents.status();
  const std::string name(kHomeName);
  // Before anything is written, and again when nobody else can write it.
  home_.reset(openat(root.fd(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!home_ && errno != ENOENT) return Failed("open", name, errno);
  absl::StatusOr<FoundMarker> found = home_ ? ReadMarker(home_.get()) : FoundMarker{};
  if (!found.ok()) return found.status();
  if (absl::Status status = Admit(root, *found, *contents, hello); !status.ok()) return status;

  absl::StatusOr<os::UniqueFd> own = OpenOwn(root.fd(), name);
  if (!own.ok()) return own.status();
  home_ = std::move(*own);
  absl::StatusOr<os::UniqueFd> lock = AcquireLock(home_.get(), {hello.instance, hello.source}, root.path());
  if (!lock.ok()) return lock.status();
  lock_ = std::move(*lock);
  found = ReadMarker(home_.get());
  if (!found.ok()) return found.status();
  if (absl::Status status = Admit(root, *found, *contents, hello); !status.ok()) return status;

  for (auto [sub, fd] : {std::pair{"staging", &staging_}, std::pair{"limbo", &limbo_}}) {
    own = OpenOwn(home_.get(), sub);
    if (!own.ok()) return own.status();
    *fd = std::move(*own);
  }
  if (absl::Status status = EmptyStaging(staging_.get()); !status.ok()) return status;
  if (absl::Status status = numbers_.Load(home_.get()); !status.ok()) return status;
  const Marker mine{hello.job, hello.instance, hello.source};
  if (!found->marker || !(*found->marker == mine)) {
    const bool of_another = !found->marker || found->marker->instance != mine.instance;
    if (absl::Status status = of_another ? numbers_.Reset() : absl::OkStatus(); !status.ok()) return status;
    if (absl::Status status = WriteMarker(home_.get(), mine); !status.ok()) return status;
    if (fsync(root.sync_fd()) != 0) return Failed("fsync", root.path(), errno);
  }
  bool limbo_empty = true;
  absl::Status listed =
      ForEachEntry(limbo_.get(), ".", [&](const auto&) { return limbo_empty = false; });
  root_was_empty_ = *contents == Contents::kNothing && limbo_empty;
  return listed;
}

}  // namespace fanmirror::apply
