#pragma once

#include <string>

namespace fanmirror::model {

struct Xattr {
  std::string name;  // with its namespace: "user.x", "system.posix_acl_access"
  std::string value;
  friend bool operator==(const Xattr&, const Xattr&) = default;
};

}  // namespace fanmirror::model
