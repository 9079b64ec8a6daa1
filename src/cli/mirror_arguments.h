#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "config/config.h"

namespace fanmirror::cli {

// The command line of `mirror`.
struct MirrorArguments {
  // One of --exclude, --include, --filter, --exclude-from, in the order in which they were written.
  struct Selector {
    enum class Kind { kExclude, kInclude, kFilter, kExcludeFrom };
    Kind kind;
    std::string value;
  };
  std::string source;
  std::string destination;
  bool once = false;
  std::vector<Selector> selectors;
  std::string delete_policy = "true";
  std::string settle = "100ms";
  std::string max_delay = "1s";
  std::string identity;
  std::string known_hosts;
  int port = 0;  // 0: not said
  std::string receiver = "fanmirror";
  bool adopt = false;
  std::string bandwidth_limit;
  std::string state_dir;
  std::string socket;
};

// The same as a configuration of one job with one target, "mirror" and "target", checked as a file would be.
// Reads the file system (source, exclude-from files). One line on errors.
absl::StatusOr<config::Config> ConfigOf(const MirrorArguments& arguments);

}  // namespace fanmirror::cli
