#pragma once

#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "config/config.h"
#include "daemon/fanout.h"
#include "daemon/log.h"
#include "daemon/watchers.h"
#include "os/tree.h"
#include "scan/walk.h"
#include "watch/mount.h"
#include "watch/watcher.h"

namespace fanmirror::daemon {

// A job's source while it is there: the mount, the tree, and once Watch was called its place at the watcher. All that
// holds the filesystem is in here; once it is destroyed, nothing of ours keeps the filesystem from being taken away. The
// job's thread only; blocks on the filesystem.
class Source {
 public:
  // `config`, `watchers` outlive it. The error says in one line why the source cannot be mirrored now, and the cure.
  static absl::StatusOr<std::unique_ptr<Source>> Open(const config::Job& config, const std::string& state_dir);
  // The replicators that use the tree are gone by then.
  ~Source();

  // From the return on, no change is missed: `fanout` is told. Does nothing when it was called with success before.
  absl::Status Watch(Watchers* watchers, const LogSink& log);

  // Why this is not what the path leads to any more (unmounted, mounted over, replaced), or is not watched any more. One
  // line; nullopt when all is as it was.
  std::optional<std::string> WhyLost() const;
  // Nothing is in it: what an unmounted filesystem leaves behind looks so.
  absl::StatusOr<bool> IsEmpty() const;

  const watch::Mount& mount() const { return mount_; }
  const os::Tree& tree() const { return *tree_; }
  const scan::Selection& selection() const { return selection_; }
  const std::shared_ptr<watch::Watcher>& watcher() const { return watcher_; }  // null before Watch
  std::uint64_t subscription() const { return subscription_; }  // at the watcher
  Fanout* fanout() { return &fanout_; }

 private:
  explicit Source(const config::Job& config) : config_(config) {}

  const config::Job& config_;
  watch::Mount mount_;
  std::unique_ptr<os::Tree> tree_;
  scan::Selection selection_;
  Fanout fanout_;
  Watchers* watchers_ = nullptr;
  std::shared_ptr<watch::Watcher> watcher_;
  std::uint64_t subscription_ = 0;
};

// What a path leads to, as cheaply as can be told; for comparing two looks.
struct SourceSight {
  int error = 0;  // errno of the look
  std::uint64_t device = 0;
  std::uint64_t mount_id = 0;
  model::FileId root;
  friend bool operator==(const SourceSight&, const SourceSight&) = default;
};
SourceSight LookAtSource(const std::string& path);

}  // namespace fanmirror::daemon
