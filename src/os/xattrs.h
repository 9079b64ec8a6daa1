#pragma once

#include <vector>

#include "model/xattr.h"

namespace fanmirror::os {

// The extended attributes that are replicated: user.*, trusted.*, security.*, system.posix_acl_access and
// system.posix_acl_default; what else a filesystem shows (btrfs.*, how xfs stores ACLs) is its own affair.
// Sorted by name. A filesystem without extended attributes has none. `fd`: of any type of node; O_PATH will
// do when `path_only`. Blocks on the filesystem. Returns 0 or an errno; E2BIG: more names than the kernel can
// list (64 KiB).
int ReadXattrs(int fd, bool path_only, std::vector<model::Xattr>* out);

}  // namespace fanmirror::os
