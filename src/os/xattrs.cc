#include "os/xattrs.h"

#include <linux/limits.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"

namespace fanmirror::os {
namespace {

// The f...xattr calls refuse O_PATH descriptors; a path through /proc reaches the very node, a symlink
// included.
class Access {
 public:
  Access(int fd, bool path_only) : fd_(fd) {
    if (path_only) path_ = absl::StrCat("/proc/self/fd/", fd);
  }
  ssize_t List(char* out, std::size_t size) const {
    return path_.empty() ? ::flistxattr(fd_, out, size) : ::listxattr(path_.c_str(), out, size);
  }
  ssize_t Get(const char* name, char* out, std::size_t size) const {
    return path_.empty() ? ::fgetxattr(fd_, name, out, size) : ::getxattr(path_.c_str(), name, out, size);
  }

 private:
  int fd_;
  std::string path_;
};

}  // namespace

int ReadXattrs(int fd, bool path_only, std::vector<model::Xattr>* out) {
  out->clear();
  const Access access(fd, path_only);
  // No list and no value is larger in the interface of the kernel, so none has to be asked for twice.
  static_assert(XATTR_LIST_MAX == 65536 && XATTR_SIZE_MAX == 65536);
  char names[XATTR_LIST_MAX];
  const ssize_t length = access.List(names, sizeof names);
  if (length < 0) return errno == EOPNOTSUPP ? 0 : errno;
  std::string_view rest(names, static_cast<std::size_t>(length));
  while (!rest.empty()) {
    const std::string_view name = rest.substr(0, rest.find('\0'));
    rest.remove_prefix(std::min(name.size() + 1, rest.size()));
    if (!model::IsMirrored(name)) continue;
    char value[XATTR_SIZE_MAX];
    const ssize_t size = access.Get(name.data(), value, sizeof value);
    if (size < 0 && errno == ENODATA) continue;  // removed since it was listed
    if (size < 0) return errno;
    out->push_back({std::string(name), std::string(value, static_cast<std::size_t>(size))});
  }
  std::ranges::sort(*out, {}, &model::Xattr::name);
  return 0;
}

}  // namespace fanmirror::os
