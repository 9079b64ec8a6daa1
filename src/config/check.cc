#include "config/check.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "config/limits.h"
#include "config/place.h"
#include "config/values.h"
#include "model/failure.h"

namespace fanmirror::config {
namespace {

using model::QuotePath;

// "cause; cure", or empty when all is well.
using Complaint = std::string;

Complaint CheckName(std::string_view key, const std::string& name) {
  if (name.empty()) return absl::StrCat(std::string(key), " is empty; give it one");
  const std::string quoted = absl::StrCat(std::string(key), " ", QuotePath(name));
  if (name.size() > kMaxNameBytes) {
    return absl::StrCat(quoted, " is longer than ", kMaxNameBytes, " characters; shorten it");
  }
  const bool fit = std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-';
  });
  if (!fit) {
    return absl::StrCat(quoted,
                        " has characters that do not fit a directory's name; use letters, digits, '.', "
                        "'_' and '-'");
  }
  if (name.front() == '.') return absl::StrCat(quoted, " begins with '.'; begin it with another character");
  return "";
}

Complaint CheckTimes(const Job& job, std::string_view* key) {
  const auto shown = [](absl::Duration duration) { return absl::FormatDuration(duration); };
  for (const auto& [name, value] : {std::pair(std::string_view("settle"), job.settle),
                                    std::pair(std::string_view("max_delay"), job.max_delay)}) {
    *key = name;
    if (value < absl::ZeroDuration() || value > kMaxDelay) {
      return absl::StrCat(std::string(name), " ", shown(value), " is not between 0ms and ", shown(kMaxDelay),
                          "; choose one that is");
    }
  }
  *key = "settle";
  if (job.settle <= job.max_delay) return "";
  return absl::StrCat("settle ", shown(job.settle), " is longer than max_delay ", shown(job.max_delay),
                      "; lower settle or raise max_delay");
}

// What a target must be whatever its job.
Complaint CheckTargetByItself(const Target& target, std::string_view* key) {
  *key = "name";
  if (Complaint complaint = CheckName("target name", target.name); !complaint.empty()) return complaint;
  *key = "path";
  if (Complaint complaint = CheckPath("path", target.path); !complaint.empty()) return complaint;
  *key = "port";
  if (target.port.has_value() && (*target.port < 1 || *target.port > kMaxPort)) {
    return absl::StrCat("port ", *target.port, " is not between 1 and ", kMaxPort, "; choose one that is");
  }
  *key = "bandwidth_limit";
  if (target.bandwidth_limit != 0 && target.bandwidth_limit < kMinBandwidth) {
    return absl::StrCat("bandwidth_limit of ", target.bandwidth_limit, " bytes a second is below ",
                        kMinBandwidth, "; raise it, or remove it for no limit");
  }
  *key = "timeout";
  if (target.timeout < kMinTimeout || target.timeout > kMaxTimeout) {
    return absl::StrCat("timeout ", absl::FormatDuration(target.timeout), " is not between ",
                        absl::FormatDuration(kMinTimeout), " and ", absl::FormatDuration(kMaxTimeout),
                        "; choose one that is");
  }
  *key = "receiver";
  if (target.receiver.empty()) return "receiver is empty; name the command on the far side";
  const std::pair<std::string_view, bool> only_with_host[] = {
      {"port", target.port.has_value()},
      {"identity_file", !target.identity_file.empty()},
      {"known_hosts", !target.known_hosts.empty()},
      {"receiver", target.receiver != Target().receiver}};
  for (const auto& [name, given] : only_with_host) {
    *key = name;
    if (given && target.host.empty()) {
      return absl::StrCat(std::string(name), " is for targets on a host; add host, or remove ",
                          std::string(name));
    }
  }
  for (const auto& [name, path] : {std::pair(std::string_view("identity_file"), target.identity_file),
                                   std::pair(std::string_view("known_hosts"), target.known_hosts)}) {
    *key = name;
    if (path.empty()) continue;
    if (Complaint complaint = CheckPath(name, path); !complaint.empty()) return complaint;
  }
  return "";
}

Complaint CheckLocalTarget(const Target& target, const Job& job, const Place& source) {
  const auto place = Place::Resolve(target.path);
  if (!place.ok()) return absl::StrCat("path: ", std::string(place.status().message()));
  const std::string quoted = absl::StrCat("path ", QuotePath(target.path));
  const std::string quoted_source = QuotePath(job.source);
  if (place->exists() && !place->is_directory()) {
    return absl::StrCat(quoted, " is not a directory; name a directory or one to be made");
  }
  if (place->SameAs(source)) return absl::StrCat(quoted, " is the source itself; choose another directory");
  if (place->IsInsideOrSame(source)) {
    return absl::StrCat(quoted, " is inside its own source ", quoted_source,
                        "; choose a directory outside of it");
  }
  if (source.IsInsideOrSame(*place)) {
    return absl::StrCat("the source ", quoted_source, " is inside ", quoted,
                        "; choose a directory beside it");
  }
  return "";
}

}  // namespace

std::string CheckPath(std::string_view key, const std::string& path) {
  if (path.empty()) return absl::StrCat(std::string(key), " is empty; write an absolute path");
  const std::string quoted = absl::StrCat(std::string(key), " ", QuotePath(path));
  if (path.find('\0') != std::string::npos) return absl::StrCat(quoted, " holds a NUL byte; remove it");
  if (path.front() != '/') return absl::StrCat(quoted, " is a relative path; begin it with '/'");
  if (path.size() > kMaxPathBytes) {
    return absl::StrCat(quoted, " is longer than ", kMaxPathBytes, " bytes; shorten it");
  }
  const std::vector<std::string> components = absl::StrSplit(path, '/');
  if (std::find(components.begin(), components.end(), "..") != components.end()) {
    return absl::StrCat(quoted, " has '..' in it; write the path without");
  }
  return "";
}

std::string MissingSource(const Job& job) {
  const auto source = Place::Resolve(job.source);
  if (!source.ok()) return absl::StrCat("source: ", std::string(source.status().message()));
  if (source->exists()) return "";
  return absl::StrCat("source ", QuotePath(job.source), " does not exist; create it or correct the path");
}

std::optional<Problem> FindProblem(const Job& job, std::size_t index) {
  const auto of_job = [&](std::string_view key, Complaint complaint) {
    return Problem{index, std::nullopt, key, std::move(complaint)};
  };
  if (Complaint complaint = CheckName("job name", job.name); !complaint.empty())
    return of_job("name", complaint);
  if (Complaint complaint = CheckPath("source", job.source); !complaint.empty())
    return of_job("source", complaint);
  const auto source = Place::Resolve(job.source);
  if (source.ok() && source->exists() && !source->is_directory()) {
    return of_job("source", absl::StrCat("source ", QuotePath(job.source), " is not a directory; name a directory"));
  }
  std::string_view key;
  if (Complaint complaint = CheckTimes(job, &key); !complaint.empty()) return of_job(key, complaint);
  if (job.targets.empty()) {
    return of_job("",
                  absl::StrCat("job '", job.name, "' has no target; add [[job.target]] with name and path"));
  }
  std::set<std::string> names;
  for (std::size_t t = 0; t < job.targets.size(); ++t) {
    const Target& target = job.targets[t];
    if (Complaint complaint = CheckTargetByItself(target, &key); !complaint.empty()) {
      return Problem{index, t, key, complaint};
    }
    if (!names.insert(target.name).second) {
      return Problem{index, t, "name",
                     absl::StrCat("target name '", target.name, "' is used twice in job '", job.name,
                                  "'; choose another")};
    }
    if (!target.host.empty() || !source.ok()) continue;
    if (Complaint complaint = CheckLocalTarget(target, job, *source); !complaint.empty()) {
      return Problem{index, t, "path", complaint};
    }
  }
  return std::nullopt;
}

}  // namespace fanmirror::config
