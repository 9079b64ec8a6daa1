#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "apply/batch_numbers.h"
#include "apply/root.h"
#include "os/unique_fd.h"
#include "wire/messages.h"

namespace fanmirror::apply {

// Our own directory at the root. In it: marker, lock, at.BEGUN.DURABLE, staging/ (what is not finished) and
// limbo/ (nodes that lost their name and may get a new one; the source addresses them by ordinary ops).
inline constexpr std::string_view kHomeName = ".fanmirror";
inline constexpr std::string_view kLimboPath = ".fanmirror/limbo";

// True for what no op of the source may touch: our directory and all in it, but for what lies in limbo.
bool IsReserved(std::string_view path);

// A root that is ours: marked, locked, with an empty staging area.
class Home {
 public:
  // Refuses, with nothing written, a root that is another's or holds data without a marker, unless
  // hello.adopt. Errors: kReconnect, one line for people. Blocks for the disk and for a stale receiver to
  // end.
  static absl::StatusOr<std::unique_ptr<Home>> Enter(const Root& root, const wire::Hello& hello);

  BatchNumbers& numbers() { return numbers_; }
  int staging_fd() const { return staging_.get(); }
  int limbo_fd() const { return limbo_.get(); }
  bool root_was_empty() const { return root_was_empty_; }

 private:
  Home() = default;
  absl::Status Prepare(const Root& root, const wire::Hello& hello);

  os::UniqueFd home_;
  os::UniqueFd lock_;
  os::UniqueFd staging_;
  os::UniqueFd limbo_;
  BatchNumbers numbers_;
  bool root_was_empty_ = false;
};

}  // namespace fanmirror::apply
