#include "replicate/link_groups.h"

namespace fanmirror::replicate {

std::optional<LinkGroups::Other> LinkGroups::Conflict(const Member& member) {
  std::optional<Other> conflict;
  const auto source = sources_.find(member.source);
  const auto target = targets_.find(member.target);
  if (source != sources_.end()) {
    if (source->second.target != member.target) conflict = source->second.first;
    if (--source->second.left == 0) sources_.erase(source);
  } else if (member.source_links > 1 && sources_.size() < kMaxNodes) {
    sources_[member.source] = {member.target, member.source_links - 1, {member.name, member.path}};
  } else if (member.source_links > 1) {
    ++left_out_;
  }
  if (target != targets_.end()) {
    if (target->second.source != member.source) conflict = target->second.first;
    if (--target->second.left == 0) targets_.erase(target);
  } else if (member.target_links > 1 && targets_.size() < kMaxNodes) {
    targets_[member.target] = {member.source, member.target_links - 1, {member.name, member.path}};
  } else if (member.target_links > 1) {
    ++left_out_;
  }
  return conflict;
}

}  // namespace fanmirror::replicate
