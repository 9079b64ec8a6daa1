#include <sys/un.h>

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "config/check.h"
#include "config/place.h"
#include "config/values.h"
#include "model/failure.h"

namespace fanmirror::config {
namespace {

using model::QuotePath;

// "cause; cure", or empty when all is well.
using Complaint = std::string;

// Both resolved, for the checks between jobs.
struct Resolved {
  std::optional<Place> source;                // nullopt: cannot be looked at now
  std::vector<std::optional<Place>> targets;  // nullopt: on a host
};

bool SameHost(const Target& a, const Target& b) {
  constexpr int kSshPort = 22;
  return absl::AsciiStrToLower(a.host) == absl::AsciiStrToLower(b.host) &&
         a.port.value_or(kSshPort) == b.port.value_or(kSshPort);
}

bool IsBeneathOrSame(const std::string& path, const std::string& directory) {
  return directory == "/" || path == directory || path.starts_with(directory + "/");
}

// How the directory of target `a` lies to that of `b`: "" for apart.
std::string Overlap(const Target& a, const std::optional<Place>& place_a, const Target& b,
                    const std::optional<Place>& place_b) {
  if (place_a.has_value() != place_b.has_value()) return "";
  if (place_a.has_value()) {
    if (place_a->SameAs(*place_b)) return "the same directory as";
    if (place_a->IsInsideOrSame(*place_b)) return "inside";
    return place_b->IsInsideOrSame(*place_a) ? "around" : "";
  }
  if (!SameHost(a, b)) return "";
  const std::string path_a = NormalizePath(a.path);
  const std::string path_b = NormalizePath(b.path);
  if (path_a == path_b) return "the same directory as";
  if (IsBeneathOrSame(path_a, path_b)) return "inside";
  return IsBeneathOrSame(path_b, path_a) ? "around" : "";
}

std::optional<Problem> FindOverlap(const Config& config, const std::vector<Resolved>& resolved) {
  for (std::size_t j = 0; j < config.jobs.size(); ++j) {
    for (std::size_t t = 0; t < config.jobs[j].targets.size(); ++t) {
      for (std::size_t i = 0; i <= j; ++i) {
        const std::size_t end = i == j ? t : config.jobs[i].targets.size();
        for (std::size_t u = 0; u < end; ++u) {
          const Target& target = config.jobs[j].targets[t];
          const Target& other = config.jobs[i].targets[u];
          const std::string overlap = Overlap(target, resolved[j].targets[t], other, resolved[i].targets[u]);
          if (overlap.empty()) continue;
          return Problem{
              j, t, "path",
              absl::StrCat("path ", QuotePath(target.path), " is ", overlap, " that of target '", other.name,
                           "' of job '", config.jobs[i].name, "'; give each target a directory of its own")};
        }
      }
    }
  }
  return std::nullopt;
}

// Whether what job `from` writes is (part of) what job `to` reads.
bool Feeds(const Resolved& from, const Resolved& to) {
  if (!to.source) return false;
  return std::any_of(from.targets.begin(), from.targets.end(), [&](const std::optional<Place>& target) {
    return target.has_value() && (target->IsInsideOrSame(*to.source) || to.source->IsInsideOrSame(*target));
  });
}

// Jobs that feed each other in a circle would mirror their own output for ever.
std::optional<Problem> FindLoop(const Config& config, const std::vector<Resolved>& resolved) {
  for (std::size_t start = 0; start < resolved.size(); ++start) {
    std::vector<std::size_t> reached = {start};
    std::set<std::size_t> seen;
    while (!reached.empty()) {
      const std::size_t job = reached.back();
      reached.pop_back();
      for (std::size_t next = 0; next < resolved.size(); ++next) {
        if (!Feeds(resolved[job], resolved[next])) continue;
        if (next == start) {
          return Problem{start, std::nullopt, "source",
                         absl::StrCat("source ", QuotePath(config.jobs[start].source),
                                      " gets back what this job sends, "
                                      "through the target of job '",
                                      config.jobs[job].name, "'; remove one of the jobs of this loop")};
        }
        if (seen.insert(next).second) reached.push_back(next);
      }
    }
  }
  return std::nullopt;
}

Complaint CheckStateDirectory(const Config& config, const std::vector<Resolved>& resolved) {
  const auto state = Place::Resolve(config.state_dir);
  if (!state.ok()) return absl::StrCat("state_dir: ", std::string(state.status().message()));
  for (std::size_t j = 0; j < config.jobs.size(); ++j) {
    for (std::size_t t = 0; t < resolved[j].targets.size(); ++t) {
      if (!resolved[j].targets[t].has_value() || !state->IsInsideOrSame(*resolved[j].targets[t])) continue;
      return absl::StrCat("state_dir ", QuotePath(config.state_dir), " is inside target '",
                          config.jobs[j].targets[t].name, "' of job '", config.jobs[j].name, "'; move it");
    }
    if (!resolved[j].source || !state->IsInsideOrSame(*resolved[j].source)) continue;
    const std::string& root = resolved[j].source->real();
    if (IsBeneathOrSame(state->real(), root) && state->real().size() > root.size()) {
      const std::string below = state->real().substr(root == "/" ? 1 : root.size() + 1);
      if (config.jobs[j].filter.ExcludesWithParents(below, true)) continue;
    }
    return absl::StrCat("state_dir ", QuotePath(config.state_dir), " is inside the source of job '",
                        config.jobs[j].name, "'; move it, or exclude it there");
  }
  return "";
}

std::optional<Problem> FindProblemOfDaemon(const Config& config) {
  const auto problem = [](std::string_view key, Complaint complaint) {
    return Problem{std::nullopt, std::nullopt, key, std::move(complaint)};
  };
  if (Complaint complaint = CheckPath("state_dir", config.state_dir); !complaint.empty()) {
    return problem("state_dir", std::move(complaint));
  }
  if (Complaint complaint = CheckPath("control_socket", config.control_socket); !complaint.empty()) {
    return problem("control_socket", std::move(complaint));
  }
  constexpr std::size_t kMaxSocketPath = sizeof(sockaddr_un::sun_path) - 1;
  if (config.control_socket.size() > kMaxSocketPath) {
    return problem("control_socket",
                   absl::StrCat("control_socket is longer than ", kMaxSocketPath,
                                " bytes, the most that a socket's path can have; shorten it"));
  }
  if (config.jobs.empty())
    return problem("", "there is no job; add [[job]] with name, source and [[job.target]]");
  return std::nullopt;
}

}  // namespace

std::optional<Problem> FindProblem(const Config& config) {
  if (std::optional<Problem> problem = FindProblemOfDaemon(config)) return problem;
  std::set<std::string> names;
  std::vector<Resolved> resolved;
  for (std::size_t j = 0; j < config.jobs.size(); ++j) {
    const Job& job = config.jobs[j];
    if (std::optional<Problem> problem = FindProblem(job, j)) return problem;
    if (!names.insert(job.name).second) {
      return Problem{j, std::nullopt, "name",
                     absl::StrCat("job name '", job.name, "' is used twice; choose another")};
    }
    auto source = Place::Resolve(job.source);
    resolved.emplace_back();
    if (source.ok()) resolved.back().source = *std::move(source);
    for (std::size_t t = 0; t < job.targets.size(); ++t) {
      resolved.back().targets.emplace_back();
      if (!job.targets[t].host.empty()) continue;
      auto target = Place::Resolve(job.targets[t].path);
      if (!target.ok()) return Problem{j, t, "path", std::string(target.status().message())};
      resolved.back().targets.back() = *std::move(target);
    }
  }
  if (std::optional<Problem> problem = FindOverlap(config, resolved)) return problem;
  if (std::optional<Problem> problem = FindLoop(config, resolved)) return problem;
  if (Complaint complaint = CheckStateDirectory(config, resolved); !complaint.empty()) {
    return Problem{std::nullopt, std::nullopt, "state_dir", complaint};
  }
  return std::nullopt;
}

}  // namespace fanmirror::config
