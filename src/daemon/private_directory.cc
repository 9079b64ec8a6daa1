#include "daemon/private_directory.h"

#include <sys/stat.h>

#include <cerrno>

#include "model/failure.h"

namespace fanmirror::daemon {

absl::Status MakePrivateDirectory(const std::string& path) {
  for (std::size_t slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) {
    const std::string parent = path.substr(0, slash);
    if (::mkdir(parent.c_str(), 0700) != 0 && errno != EEXIST) {
      return model::SystemFailure(model::Reaction::kHaltJob, "mkdir", parent, errno, "make it by hand");
    }
  }
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return model::SystemFailure(model::Reaction::kHaltJob, "mkdir", path, errno, "make it by hand");
  }
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    return model::SystemFailure(model::Reaction::kHaltJob, "stat", path, errno);
  }
  if (!S_ISDIR(status.st_mode)) {
    return model::SystemFailure(model::Reaction::kHaltJob, "mkdir", path, ENOTDIR, "choose another place");
  }
  return absl::OkStatus();
}

}  // namespace fanmirror::daemon
