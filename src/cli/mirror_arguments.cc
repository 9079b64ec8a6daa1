#include "cli/mirror_arguments.h"

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/destination.h"
#include "cli/values.h"
#include "model/failure.h"
#include "select/filter.h"

namespace fanmirror::cli {
namespace {

using Selector = MirrorArguments::Selector;

absl::StatusOr<std::string> RealSource(const std::string& source) {
  const std::unique_ptr<char, decltype(&std::free)> real(::realpath(source.c_str(), nullptr), &std::free);
  if (real == nullptr) {
    return model::SystemFailure(model::Reaction::kHaltJob, "source", source, errno,
                                "name an existing directory");
  }
  return std::string(real.get());
}

absl::StatusOr<std::string> ReadText(const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
  if (!stream.is_open() || stream.bad()) {
    return model::SystemFailure(model::Reaction::kHaltJob, "--exclude-from", file, errno,
                                "name a readable file");
  }
  return text;
}

absl::StatusOr<std::vector<select::Rule>> RulesOf(const Selector& selector) {
  switch (selector.kind) {
    case Selector::Kind::kExclude:
    case Selector::Kind::kInclude: {
      auto rule = select::ParsePattern(selector.value, selector.kind == Selector::Kind::kInclude);
      if (!rule.ok()) return rule.status();
      return std::vector<select::Rule>{*std::move(rule)};
    }
    case Selector::Kind::kFilter:
      return select::ParseFilterLine(selector.value);
    case Selector::Kind::kExcludeFrom: {
      auto text = ReadText(selector.value);
      if (!text.ok()) return text.status();
      return select::ParseExcludeFrom(*text);
    }
  }
  return std::vector<select::Rule>{};
}

absl::StatusOr<config::DeletePolicy> PolicyOf(const std::string& text) {
  if (text == "true") return config::DeletePolicy::kAlways;
  if (text == "false") return config::DeletePolicy::kNever;
  if (text == "startup") return config::DeletePolicy::kStartup;
  if (text == "running") return config::DeletePolicy::kRunning;
  return absl::InvalidArgumentError(absl::StrCat("--delete ", model::QuotePath(text),
                                                 " is unknown; write true, false, startup or running"));
}

absl::StatusOr<config::Target> TargetOf(const MirrorArguments& arguments) {
  auto destination = ParseDestination(arguments.destination);
  if (!destination.ok()) return destination.status();
  config::Target target;
  target.name = "target";
  target.user = destination->user;
  target.host = destination->host;
  target.path = destination->path;
  if (target.host.empty()) {
    std::error_code error;
    const std::filesystem::path real = std::filesystem::weakly_canonical(target.path, error);
    target.path = error ? std::filesystem::absolute(target.path).lexically_normal().string() : real.string();
    if (target.path.size() > 1 && target.path.back() == '/') target.path.pop_back();
  }
  if (arguments.port != 0) target.port = arguments.port;
  target.identity_file = arguments.identity;
  target.known_hosts = arguments.known_hosts;
  target.receiver = arguments.receiver;
  target.adopt = arguments.adopt;
  if (!arguments.bandwidth_limit.empty()) {
    auto limit = ParseRate("--bwlimit", arguments.bandwidth_limit);
    if (!limit.ok()) return limit.status();
    target.bandwidth_limit = *limit;
  }
  return target;
}

absl::StatusOr<config::Job> JobOf(const MirrorArguments& arguments) {
  config::Job job;
  job.name = "mirror";
  auto source = RealSource(arguments.source);
  if (!source.ok()) return source.status();
  job.source = *std::move(source);
  for (const Selector& selector : arguments.selectors) {
    auto rules = RulesOf(selector);
    if (!rules.ok()) return rules.status();
    job.rules.insert(job.rules.end(), rules->begin(), rules->end());
  }
  auto filter = select::Filter::Compile(job.rules);
  if (!filter.ok()) return filter.status();
  job.filter = *std::move(filter);

  auto policy = PolicyOf(arguments.delete_policy);
  if (!policy.ok()) return policy.status();
  job.delete_policy = *policy;
  auto settle = ParseDuration("--settle", arguments.settle);
  if (!settle.ok()) return settle.status();
  job.settle = *settle;
  auto max_delay = ParseDuration("--max-delay", arguments.max_delay);
  if (!max_delay.ok()) return max_delay.status();
  job.max_delay = *max_delay;

  auto target = TargetOf(arguments);
  if (!target.ok()) return target.status();
  job.targets.push_back(*std::move(target));
  return job;
}

// FNV-1a: the same in every build, because it names a directory that the next run finds again.
std::uint64_t StableHash(const std::string& text) {
  std::uint64_t hash = 14695981039346656037u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return hash;
}

// Of what makes a mirror this one and no other.
std::string StateDirOf(const config::Job& job) {
  const config::Target& target = job.targets.front();
  const std::string key =
      absl::StrCat(job.source, std::string(1, '\0'), target.user.value_or(""), "@", target.host, ":",
                   target.port.value_or(0), std::string(1, '\0'), target.path);
  return absl::StrFormat("/var/lib/fanmirror/mirror/%016x", StableHash(key));
}

}  // namespace

absl::StatusOr<config::Config> ConfigOf(const MirrorArguments& arguments) {
  auto job = JobOf(arguments);
  if (!job.ok()) return job.status();
  if (absl::Status status = config::CheckJob(*job); !status.ok()) return status;
  config::Config config;
  config.state_dir = arguments.state_dir.empty()
                         ? StateDirOf(*job)
                         : std::filesystem::absolute(arguments.state_dir).lexically_normal().string();
  while (config.state_dir.size() > 1 && config.state_dir.back() == '/') config.state_dir.pop_back();
  config.control_socket = arguments.socket.empty() ? config.state_dir + "/control.sock"
                                                   : std::filesystem::absolute(arguments.socket).string();
  config.jobs.push_back(*std::move(job));
  return config;
}

}  // namespace fanmirror::cli
