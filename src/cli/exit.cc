#include "cli/exit.h"

#include <unistd.h>

#include <cstdio>
#include <string>

#include "absl/strings/str_cat.h"
#include "daemon/log.h"

namespace fanmirror::cli {

int Fail(int code, std::string_view line) {
  std::fprintf(stderr, "fanmirror: %s\n", daemon::OneLine(line).c_str());
  return code;
}

int Fail(int code, const absl::Status& status) { return Fail(code, std::string(status.message())); }

std::optional<int> RefuseUnlessRoot(std::string_view command) {
  if (::geteuid() == 0) return std::nullopt;
  return Fail(kUsage, absl::StrCat(std::string(command),
                                   " must run as root: fanotify and file handles are root's; use sudo"));
}

}  // namespace fanmirror::cli
