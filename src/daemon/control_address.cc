#include "daemon/control_address.h"

#include <fcntl.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "model/failure.h"

namespace fanmirror::daemon {

absl::StatusOr<ControlAddress> ControlAddress::Of(const std::string& path) {
  ControlAddress result;
  const std::size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  result.directory.reset(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!result.directory) {
    return model::SystemFailure(model::Reaction::kHaltJob, "open", directory, errno,
                                "is the daemon running? else choose another control socket");
  }
  const std::string short_path = absl::StrCat("/proc/self/fd/", result.directory.get(), "/", name);
  if (name.empty() || short_path.size() >= sizeof result.address.sun_path) {
    return model::Failure(
        model::Reaction::kHaltJob,
        absl::StrCat("control socket ", model::QuotePath(path), ": not a usable name; choose a shorter one"));
  }
  result.address.sun_family = AF_UNIX;
  std::memcpy(result.address.sun_path, short_path.c_str(), short_path.size() + 1);
  return result;
}

}  // namespace fanmirror::daemon
