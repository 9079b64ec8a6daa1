#include "apply/landlock.h"

#include <linux/landlock.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "model/failure.h"
#include "os/unique_fd.h"

namespace fanmirror::apply {
namespace {

// What the headers of the distribution do not have yet; the numbers are those of the kernel's interface.
constexpr std::uint64_t kTruncate = std::uint64_t{1} << 14;             // from version 3 on
constexpr std::uint64_t kIoctlDevice = std::uint64_t{1} << 15;          // 5
constexpr std::uint64_t kBindTcp = std::uint64_t{1} << 0;               // 4
constexpr std::uint64_t kConnectTcp = std::uint64_t{1} << 1;            // 4
constexpr std::uint64_t kScopeAbstractSockets = std::uint64_t{1} << 0;  // 6

// landlock_ruleset_attr as of version 6; older kernels take its beginning.
struct Ruleset {
  std::uint64_t files = 0;
  std::uint64_t net = 0;
  std::uint64_t scoped = 0;
};

// All that is governed, which is denied where no rule grants it.
Ruleset Governed(int version) {
  Ruleset all;
  all.files = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE |
              LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
              LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
              LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |
              LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REFER;
  if (version >= 3) all.files |= kTruncate;
  if (version >= 4) all.net = kBindTcp | kConnectTcp;
  if (version >= 5) all.files |= kIoctlDevice;
  // Signals are not scoped: the receiver of a lost connection must be ended.
  if (version >= 6) all.scoped = kScopeAbstractSockets;
  return all;
}

std::size_t RulesetBytes(int version) {
  return version >= 6 ? sizeof(Ruleset) : version >= 4 ? 2 * sizeof(std::uint64_t) : sizeof(std::uint64_t);
}

absl::Status Failed(std::string_view call, int errno_value) {
  return model::SystemFailure(model::Reaction::kReconnect, call, "the root", errno_value,
                              "the receiver does not run without the confinement that the kernel has");
}

}  // namespace

absl::StatusOr<int> RestrictTo(int root_fd) {
  const auto version =
      static_cast<int>(syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION));
  if (version < 2) return 0;
  const Ruleset all = Governed(version);
  const os::UniqueFd ruleset(static_cast<int>(syscall(SYS_landlock_create_ruleset, &all, RulesetBytes(version), 0)));
  if (!ruleset) return Failed("landlock_create_ruleset for", errno);
  if (root_fd >= 0) {
    landlock_path_beneath_attr below{};
    below.allowed_access = all.files & ~(LANDLOCK_ACCESS_FS_EXECUTE | kIoctlDevice);
    below.parent_fd = root_fd;
    if (syscall(SYS_landlock_add_rule, ruleset.get(), LANDLOCK_RULE_PATH_BENEATH, &below, 0) != 0) {
      return Failed("landlock_add_rule for", errno);
    }
  }
  if (syscall(SYS_landlock_restrict_self, ruleset.get(), 0) != 0) return Failed("landlock_restrict_self to", errno);
  return version;
}

}  // namespace fanmirror::apply
