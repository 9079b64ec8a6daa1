#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "apply/root.h"
#include "apply/staged_files.h"
#include "apply/staging.h"
#include "hash/content_hasher.h"
#include "os/unique_fd.h"
#include "wire/frame.h"
#include "wire/messages.h"

namespace fanmirror::apply {

// Makes one regular file at a time in the staging area: written, verified, dressed. It has its place only
// once StagedFiles renames it, so that there is the old version or the new one at any time. After an error
// nothing is left of the file; call Begin for the next.
class Put {
 public:
  Put(Root* root, Staging* staging) : root_(root), staging_(staging) {}
  ~Put() { Abandon(); }

  absl::Status Begin(wire::ReceivedOp op);
  // Offsets ascend, pieces do not overlap.
  absl::Status Write(const wire::DataFrame& data);
  // The caller owns what is staged then; its index is not set.
  absl::StatusOr<StagedFile> Finish(const wire::PutEnd& end);
  void Abandon();

 private:
  absl::Status WriteAll(const wire::DataFrame& data);
  absl::Status Complete(const wire::PutEnd& end);
  absl::Status Fail(absl::Status status);

  Root* root_;
  Staging* staging_;
  wire::ReceivedOp op_;
  hash::ContentHasher hasher_;
  std::string name_;  // in the staging area; empty: no put is under way
  os::UniqueFd fd_;
  std::uint64_t end_ = 0;      // of what is written
  std::uint64_t flushed_ = 0;  // write-back was started up to here
};

}  // namespace fanmirror::apply
