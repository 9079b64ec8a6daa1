#include "apply/failures.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"

namespace fanmirror::apply {
namespace {

using model::Reaction;

struct Rule {
  std::optional<Step> step;  // nullopt: any
  int errno_value;
  Reaction reaction;
  std::string_view cure;
};

constexpr std::string_view kFreeSpace = "free space on the target, or raise the quota";
constexpr std::string_view kMountedThere =
    "another filesystem or subvolume is mounted there on the target; unmount it";
constexpr std::string_view kXattrCure = "the target's filesystem cannot hold this attribute";

// The first rule that fits counts.
constexpr std::array kRules = {
    // An attribute that does not fit is a matter of that one file, however much space there is.
    Rule{Step::kXattr, ENOSPC, Reaction::kSkipAndReport, kXattrCure},
    Rule{Step::kXattr, E2BIG, Reaction::kSkipAndReport, kXattrCure},
    Rule{Step::kXattr, ERANGE, Reaction::kSkipAndReport, kXattrCure},
    Rule{Step::kXattr, EOPNOTSUPP, Reaction::kSkipAndReport, kXattrCure},
    Rule{Step::kRemove, ENOTEMPTY, Reaction::kSkipAndReport,
         "the directory on the target holds files that fanmirror did not put there; move them away"},
    // The plan was made for another tree: a directory cannot go below itself.
    Rule{Step::kRename, EINVAL, Reaction::kLookAgain, ""},
    Rule{Step::kExchange, EINVAL, Reaction::kLookAgain, ""},
    Rule{std::nullopt, ENOTEMPTY, Reaction::kLookAgain, ""},
    Rule{std::nullopt, ENOENT, Reaction::kLookAgain, ""},
    Rule{std::nullopt, ENOTDIR, Reaction::kLookAgain, ""},
    Rule{std::nullopt, EEXIST, Reaction::kLookAgain, ""},
    Rule{std::nullopt, EISDIR, Reaction::kLookAgain, ""},
    Rule{std::nullopt, ELOOP, Reaction::kLookAgain, "a symlink lies there on the target"},
    // Looking again would find the same until a person unmounts.
    Rule{std::nullopt, EXDEV, Reaction::kSkipAndReport, kMountedThere},
    Rule{std::nullopt, EBUSY, Reaction::kSkipAndReport,
         "it is in use as a mount point on the target; unmount it"},
    Rule{std::nullopt, ENOSPC, Reaction::kRetry, kFreeSpace},
    Rule{std::nullopt, EDQUOT, Reaction::kRetry, kFreeSpace},
    Rule{std::nullopt, EIO, Reaction::kRetry, "see the kernel log of the target"},
    Rule{std::nullopt, ENOMEM, Reaction::kRetry, ""},
    Rule{std::nullopt, EROFS, Reaction::kRetry, "remount the target's filesystem read-write"},
    Rule{std::nullopt, EPERM, Reaction::kSkipAndReport,
         "run the receiver as root, or check the target's filesystem"},
    Rule{std::nullopt, EACCES, Reaction::kSkipAndReport, "run the receiver as root"},
    Rule{std::nullopt, EINVAL, Reaction::kSkipAndReport, "the target's filesystem does not take it"},
    Rule{std::nullopt, ENAMETOOLONG, Reaction::kSkipAndReport, "the target's filesystem has shorter names"},
    Rule{std::nullopt, EFBIG, Reaction::kSkipAndReport, "the target's filesystem has smaller files"},
    Rule{std::nullopt, EMLINK, Reaction::kSkipAndReport, "the target's filesystem has fewer links"},
    Rule{std::nullopt, EOPNOTSUPP, Reaction::kSkipAndReport, "the target's filesystem does not take it"},
    Rule{std::nullopt, EOVERFLOW, Reaction::kSkipAndReport, "the target's filesystem does not take it"},
};

std::string_view StepName(Step step) {
  switch (step) {
    case Step::kResolve:
      return "open the directory of";
    case Step::kInspect:
      return "statx";
    case Step::kCreate:
      return "create";
    case Step::kWrite:
      return "write";
    case Step::kOwner:
      return "chown";
    case Step::kMode:
      return "chmod";
    case Step::kXattr:
      return "setxattr";
    case Step::kTimes:
      return "utimensat";
    case Step::kLink:
      return "link";
    case Step::kRename:
      return "rename";
    case Step::kExchange:
      return "exchange";
    case Step::kRemove:
      return "remove";
    case Step::kList:
      return "list";
    case Step::kRead:
      return "read";
  }
  return "apply";
}

}  // namespace

absl::Status StepFailure(Step step, std::string_view path, int errno_value, std::string_view cure) {
  for (const Rule& rule : kRules) {
    if (rule.errno_value != errno_value || rule.step.value_or(step) != step) continue;
    return model::SystemFailure(rule.reaction, StepName(step), path, errno_value,
                                cure.empty() ? rule.cure : cure);
  }
  return model::SystemFailure(Reaction::kRetry, StepName(step), path, errno_value, cure);
}

bool MeansAbsent(const absl::Status& status) {
  const int error = model::ErrnoOf(status);
  return error == ENOENT || error == ENOTDIR || error == ELOOP;
}

absl::Status NotAsExpected(Step step, std::string_view path, std::string_view why) {
  return model::Failure(Reaction::kLookAgain, absl::StrCat(std::string(StepName(step)), " ",
                                                           model::QuotePath(path), ": ", std::string(why)));
}

std::string ChattrCure(int dir_fd, const char* name, std::string_view path) {
  const auto locked = [](int fd, const char* at, int flags) -> std::string_view {
    struct statx st {};
    if (statx(fd, at, flags | AT_SYMLINK_NOFOLLOW, STATX_TYPE, &st) != 0) return {};
    if (st.stx_attributes & STATX_ATTR_IMMUTABLE) return "immutable on the target; chattr -i ";
    if (st.stx_attributes & STATX_ATTR_APPEND) return "append-only on the target; chattr -a ";
    return {};
  };
  if (const std::string_view how = locked(dir_fd, name, *name == '\0' ? AT_EMPTY_PATH : 0); !how.empty()) {
    return absl::StrCat("it is ", std::string(how), model::QuotePath(path));
  }
  const std::string_view parent =
      path.substr(0, path.find_last_of('/') == std::string_view::npos ? 0 : path.rfind('/'));
  if (const std::string_view how = locked(dir_fd, "", AT_EMPTY_PATH); !how.empty()) {
    return absl::StrCat("its directory is ", std::string(how),
                        model::QuotePath(parent.empty() ? "." : parent));
  }
  return {};
}

}  // namespace fanmirror::apply
