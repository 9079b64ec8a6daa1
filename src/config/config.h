#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "select/filter.h"

namespace fanmirror::config {

// More deletes than that at once wait for a person.
struct MaxDelete {
  std::optional<double> fraction;      // of the entries of the tree, above 0 and below 1
  std::optional<std::uint64_t> count;  // neither: any number
};

enum class DeletePolicy { kAlways, kNever, kStartup, kRunning };

struct Target {
  std::string name;
  std::optional<std::string> user;
  std::string host;  // empty: a local directory
  std::optional<int> port;
  std::string path;  // absolute, without "..", repeated or trailing '/'
  std::string identity_file;
  std::string known_hosts;
  std::string receiver = "fanmirror";
  std::uint64_t bandwidth_limit = 0;  // bytes a second, 0: none
  bool adopt = false;                 // take over a directory that already holds data
  absl::Duration timeout = absl::Seconds(15);  // a peer that is silent for so long is lost
};

struct Job {
  std::string name;
  std::string source;  // absolute, without "..", repeated or trailing '/'
  std::string source_place;  // FILE:LINE:COLUMN of it, for messages; empty when not from a file
  // "cause; cure" when it cannot be reached now: not there, or it cannot be looked at. Not for Load to refuse, since its
  // filesystem may only not be mounted yet.
  std::string source_missing;
  // TOML keeps no order between keys, and the first rule that matches decides. So the keys have an order of
  // their own, that of exceptions before what they are exceptions from: include, filter, exclude,
  // exclude_from; within a key the order is the file's. `filter` alone can hold any order of '+' and '-'.
  std::vector<select::Rule> rules;
  select::Filter filter;  // the same, compiled with `source` as root
  absl::Duration settle = absl::Milliseconds(100);
  absl::Duration max_delay = absl::Seconds(1);
  DeletePolicy delete_policy = DeletePolicy::kAlways;
  MaxDelete max_delete = {.fraction = 0.5, .count = std::nullopt};
  absl::Duration audit = absl::Hours(24);  // between two audits; zero: none
  bool audit_content = false;  // an audit hashes the files on both sides, and corrects what differs
  std::vector<Target> targets;
};

struct Config {
  std::string state_dir = "/var/lib/fanmirror";
  std::string control_socket = "/run/fanmirror/control.sock";
  bool bounded_queue = false;  // the kernel keeps fs.fanotify.max_queued_events of a filesystem, and not all
  std::vector<Job> jobs;
};

// Reads and checks a configuration file: syntax, keys, types, values, names used twice, a target inside its
// source or the reverse, jobs that feed each other in a loop (as far as what is there tells; a missing source is left to
// the caller, see Job::source_missing). Blocks on the filesystem.
// Throws nothing. The error is one line: FILE:LINE:COLUMN: cause; cure.
absl::StatusOr<Config> Load(const std::string& file);
// The same for text; `file` is for messages (and relative exclude_from paths are relative to its directory).
absl::StatusOr<Config> Parse(const std::string& text, const std::string& file);

// What Load checks of a job beyond its syntax, and that its source is there; for jobs that do not come from a file. One
// line: cause; cure.
absl::Status CheckJob(const Job& job);

}  // namespace fanmirror::config
