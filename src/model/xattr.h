#pragma once

#include <string>
#include <string_view>

namespace fanmirror::model {

struct Xattr {
  std::string name;  // with its namespace: "user.x", "system.posix_acl_access"
  std::string value;
  friend bool operator==(const Xattr&, const Xattr&) = default;
};

// Whether the source rules over this attribute of the target; what else a filesystem shows (btrfs.*, how xfs stores
// ACLs, which shows up beside the ACL itself) is its own affair.
inline bool IsMirrored(std::string_view name) {
  if (name == "trusted.SGI_ACL_FILE" || name == "trusted.SGI_ACL_DEFAULT") return false;
  return name.starts_with("user.") || name.starts_with("trusted.") || name.starts_with("security.") ||
         name == "system.posix_acl_access" || name == "system.posix_acl_default";
}

// Set by the policy of the target's host, too: where the source has none, what is there stays.
inline constexpr std::string_view kSelinuxXattr = "security.selinux";

}  // namespace fanmirror::model
