#include <cstdint>
#include <string>

#include "absl/random/random.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "os/clock.h"
#include "plan/planner.h"
#include "replicate/replicator_impl.h"

namespace fanmirror::replicate {

namespace {

// Of what a pending set notes for which events. Raised when a newer program notes more: then one scan makes up for it.
constexpr int kScopeFormat = 2;

// All that decides which changes are noted, and what is made of them. A pending set that was kept with another scope lacks
// some.
std::string ScopeOf(const Options& options) {
  std::string scope = absl::StrCat("format ", kScopeFormat, "\n");
  const auto add = [&scope](std::string_view key, const std::string& value) {
    absl::StrAppend(&scope, std::string(key), " ", absl::CEscape(value), "\n");
  };
  add("filesystem", options.filesystem);
  add("root", options.tree->root().Encode());
  add("rules", options.filter.text());
  for (const std::string& path : options.ignored) add("ignored", path);
  add("path", options.path);
  absl::StrAppend(&scope, "deletes ", options.delete_at_startup, options.delete_while_running, "\n");
  return scope;
}

std::uint64_t NewToken() {
  absl::BitGen random;
  return absl::Uniform<std::uint64_t>(absl::IntervalClosedClosed, random, 1, UINT64_MAX);
}

}  // namespace

// Why no scan is right where there is none. Whoever keeps the watch says of the token that the pending set has noted, or
// will be told again, everything since the token was set; and it was set after a scan of all was noted in that pending
// set, in which that scan stays until it is through. Before that the token is in the pending set and not with the watch,
// or in neither: then there is a scan. A catalogue that begins anew knows nothing that a change could be missing from.
void ReplicatorImpl::NoteStart() {
  const WatchMemory& memory = options_.memory;
  const std::string scope = ScopeOf(options_);
  const auto kept = pending_->completeness();
  const bool known = catalogue_->header().complete;
  // What is deleted only by the scan of a start needs one at each.
  const bool only_scans_delete = options_.delete_at_startup && !options_.delete_while_running;
  if (known && !only_scans_delete && kept && kept->scope == scope && memory.is_complete && memory.is_complete(kept->token)) {
    token_ = kept->token;
    Log(Severity::kInfo, "goes on with the events that were kept; nothing to scan");
    return;
  }
  const std::uint64_t token = NewToken();
  model::Change all = plan::TreeChange(options_.tree->root());
  all.startup = true;
  const absl::Status noted = pending_->NoteScan(all, os::BoottimeNs(), {token, scope});
  if (!noted.ok()) {
    NoteFailed(noted);
    return;
  }
  token_ = token;
  if (memory.set_complete) memory.set_complete(token);
}

void ReplicatorImpl::Detach() {
  if (options_.memory.set_incomplete) options_.memory.set_incomplete(token_);
}

}  // namespace fanmirror::replicate
