#pragma once

#include <string>

#include "absl/status/status.h"
#include "apply/node.h"
#include "apply/root.h"
#include "apply/staging.h"
#include "wire/messages.h"

namespace fanmirror::apply {

// Does the ops other than kPut, one at a time, each at once and whole. An op that failed has changed nothing,
// or (kExchange on a filesystem without it, kSetMetadata) has stopped midway.
class Applier {
 public:
  Applier(Root* root, Staging* staging, int limbo_fd) : root_(root), staging_(staging), limbo_fd_(limbo_fd) {}

  absl::Status Apply(const wire::ReceivedOp& op);

 private:
  absl::Status Make(const wire::ReceivedOp& op);
  absl::Status CreateStaged(const wire::ReceivedOp& op, const std::string& name);
  absl::Status DressStaged(const wire::ReceivedOp& op, const std::string& name);
  absl::Status PlaceStaged(const wire::ReceivedOp& op, const std::string& name);
  absl::Status Link(const model::Op& op);
  absl::Status LinkOver(const model::Op& op, const Root::Place& from, const Root::Place& to);
  absl::Status Rename(const model::Op& op);
  absl::Status Exchange(const model::Op& op);
  absl::Status ExchangeThroughLimbo(const model::Op& op, const Root::Place& from, const Root::Place& to);
  absl::Status Remove(const model::Op& op);
  absl::Status SetMetadata(const wire::ReceivedOp& op);

  // Both places; the descriptor of `from` stays valid together with that of `to`.
  absl::Status LocateBoth(const model::Op& op, Root::Place* from, Root::Place* to);

  Root* root_;
  Staging* staging_;
  int limbo_fd_;
};

}  // namespace fanmirror::apply
