#include "apply/confinement.h"

#include <cap-ng.h>
#include <seccomp.h>
#include <sys/prctl.h>

#include <array>
#include <cerrno>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "apply/landlock.h"
#include "model/failure.h"

namespace fanmirror::apply {
namespace {

// What the ops need, where the caller has it.
constexpr std::array kKeptCapabilities = {
    CAP_CHOWN,         // owners
    CAP_DAC_OVERRIDE,  // directories and files of any owner and mode
    CAP_FOWNER,        // their modes, times, attributes, and names in sticky directories
    CAP_FSETID,        // setgid bits of groups that the receiver is not in
    CAP_MKNOD,         // devices
    CAP_SETFCAP,       // security.capability
    CAP_SYS_ADMIN,     // trusted.* and security.* attributes
    CAP_SYS_RESOURCE,  // the blocks that the filesystem keeps for root: what fitted the source has to fit
};

// What no receiver ever calls, and what CAP_SYS_ADMIN, or a fault in us, would be worth most for. All else is allowed,
// so that no other C library, kernel or sanitizer is surprised.
constexpr std::array kRefusedCalls = {
    "execve",
    "execveat",
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "move_mount",
    "open_tree",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "mount_setattr",
    "unshare",
    "setns",
    "bpf",
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "delete_module",
    "reboot",
    "swapon",
    "swapoff",
    "sethostname",
    "setdomainname",
    "quotactl",
    "quotactl_fd",
    "add_key",
    "request_key",
    "keyctl",
    "socket",
    "socketpair",
    "io_uring_setup",
    "userfaultfd",
    "perf_event_open",
    "fanotify_init",
    "acct",
    "open_by_handle_at",
    "syslog",
};

absl::Status Failed(std::string_view call, int errno_value) {
  return model::SystemFailure(model::Reaction::kReconnect, call, "the receiver's confinement", errno_value);
}

absl::Status DropCapabilities() {
  if (capng_get_caps_process() != 0) return Failed("capget for", errno);
  std::array<bool, kKeptCapabilities.size()> has{};
  for (std::size_t i = 0; i < has.size(); ++i) {
    has[i] = capng_have_capability(CAPNG_PERMITTED, static_cast<unsigned>(kKeptCapabilities[i])) != 0;
  }
  const bool may_bound = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP) != 0;
  capng_clear(CAPNG_SELECT_ALL);
  for (std::size_t i = 0; i < has.size(); ++i) {
    if (!has[i]) continue;
    const auto kept = static_cast<capng_type_t>(CAPNG_EFFECTIVE | CAPNG_PERMITTED);
    capng_update(CAPNG_ADD, kept, static_cast<unsigned>(kKeptCapabilities[i]));
  }
  // The bounding set first: shrinking it needs a capability that goes, too.
  if (may_bound && capng_apply(CAPNG_SELECT_BOUNDS) != 0) return Failed("prctl(PR_CAPBSET_DROP) for", errno);
  if (capng_apply(CAPNG_SELECT_CAPS) != 0) return Failed("capset for", errno);
  if (capng_apply(CAPNG_SELECT_AMBIENT) != 0) return Failed("prctl(PR_CAP_AMBIENT) for", errno);
  return absl::OkStatus();
}

// False where the kernel has no filters.
absl::StatusOr<bool> RefuseCalls() {
  if (prctl(PR_GET_SECCOMP) < 0) return false;
  const std::unique_ptr<void, void (*)(scmp_filter_ctx)> filter(seccomp_init(SCMP_ACT_ALLOW), seccomp_release);
  if (filter == nullptr) return Failed("seccomp_init for", ENOMEM);
  for (const char* name : kRefusedCalls) {
    const int call = seccomp_syscall_resolve_name(name);
    if (call == __NR_SCMP_ERROR) continue;  // newer than the library
    const int error = seccomp_rule_add(filter.get(), SCMP_ACT_ERRNO(EPERM), call, 0);
    if (error != 0 && error != -EDOM) return Failed("seccomp_rule_add for", -error);
  }
  const int error = seccomp_load(filter.get());
  if (error != 0) return Failed("seccomp for", -error);
  return true;
}

}  // namespace

absl::StatusOr<std::string> Confine(int root_fd) {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return Failed("prctl(PR_SET_NO_NEW_PRIVS) for", errno);
  const absl::StatusOr<int> landlock = RestrictTo(root_fd);
  if (!landlock.ok()) return landlock.status();
  const absl::StatusOr<bool> calls = RefuseCalls();
  if (!calls.ok()) return calls.status();
  if (absl::Status status = DropCapabilities(); !status.ok()) return status;
  std::string missing;
  if (*landlock == 0) missing = "Landlock of version 2 (Linux 5.19)";
  if (!*calls) absl::StrAppend(&missing, missing.empty() ? "" : " and ", "seccomp filters");
  if (missing.empty()) return missing;
  return absl::StrCat("this kernel has no ", missing,
                      "; the receiver is confined to its root by its own look-ups only");
}

}  // namespace fanmirror::apply
