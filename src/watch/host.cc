#include <sys/utsname.h>

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "model/failure.h"
#include "watch/mark.h"
#include "watch/mount.h"

namespace fanmirror::watch {
namespace {

using model::Reaction;

// FAN_REPORT_TARGET_FID and FAN_RENAME came with it.
constexpr int kLeastMajor = 5;
constexpr int kLeastMinor = 17;

struct Need {
  int capability;  // its number in linux/capability.h
  std::string_view name;
  std::string_view purpose;
};
constexpr Need kNeeds[] = {
    {21, "CAP_SYS_ADMIN", "to watch a whole filesystem"},
    {2, "CAP_DAC_READ_SEARCH", "to open files by their handles"},
};

absl::Status CheckKernel() {
  utsname host{};
  int major = 0;
  int minor = 0;
  if (uname(&host) != 0 || std::sscanf(host.release, "%d.%d", &major, &minor) != 2) return absl::OkStatus();
  if (major > kLeastMajor || (major == kLeastMajor && minor >= kLeastMinor)) return absl::OkStatus();
  return model::Failure(
      Reaction::kHaltJob,
      absl::StrCat("kernel ", host.release, " of this host: fanotify tells no renames before ", kLeastMajor,
                   ".", kLeastMinor, "; run a newer kernel"));
}

absl::Status CheckCapabilities() {
  std::ifstream status("/proc/self/status");
  std::string word;
  std::uint64_t effective = 0;
  while (status >> word) {
    if (word == "CapEff:" && status >> std::hex >> effective) break;
  }
  for (const Need& need : kNeeds) {
    if ((effective >> need.capability & 1) != 0) continue;
    return model::Failure(
        Reaction::kHaltJob,
        absl::StrCat("privileges: ", std::string(need.name), " is missing, which is needed ",
                     std::string(need.purpose), "; run fanmirror as root"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckHost() {
  if (auto kernel = CheckKernel(); !kernel.ok()) return kernel;
  if (auto capabilities = CheckCapabilities(); !capabilities.ok()) return capabilities;
  const auto group = NewGroup(QueueBound::kUnlimited);
  if (!group.ok()) return group.status();
  return TryMark(group->get());
}

}  // namespace fanmirror::watch
