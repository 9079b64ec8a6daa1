#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "config/config.h"

namespace fanmirror::config {

// A value that cannot be, and the key it stands at: in `job`, in one of its targets, or in [daemon].
struct Problem {
  std::optional<std::size_t> job;
  std::optional<std::size_t> target;
  std::string_view key;  // empty: the table itself
  std::string message;   // "cause; cure"
};

// What is wrong with an absolute path, as "cause; cure"; empty when nothing is. `key` is its name in the
// message.
std::string CheckPath(std::string_view key, const std::string& path);

// Why the source of a job whose path is well-formed is not there, as "cause; cure"; empty when it is, or when something is
// there that is no directory. Blocks on the filesystem.
std::string MissingSource(const Job& job);

// The first problem of one job by itself; `index` is its Problem::job.
std::optional<Problem> FindProblem(const Job& job, std::size_t index);
// The first problem of the whole: each job by itself, and the jobs together.
std::optional<Problem> FindProblem(const Config& config);

}  // namespace fanmirror::config
