#include "daemon/source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "model/failure.h"
#include "os/entries.h"

namespace fanmirror::daemon {
namespace {

// Where `directory` lies below the source, whatever mount it is reached by; nullopt when it does not.
absl::StatusOr<std::optional<std::string>> PlaceBelow(const watch::Mount& source, const os::Tree& tree,
                                                      const std::string& directory) {
  // A filesystem that cannot be watched is not the source's.
  const auto mount = watch::ResolveMount(directory);
  if (!mount.ok() || mount->filesystem != source.filesystem) return std::nullopt;
  const os::UniqueFd fd(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return model::SystemFailure(model::Reaction::kHaltJob, "open", directory, errno);
  model::FileId id;
  if (const int error = os::IdAt(fd.get(), "", &id); error != 0) {
    return model::SystemFailure(model::Reaction::kHaltJob, "name_to_handle_at", directory, error);
  }
  auto place = tree.Locate(id);
  if (!place.ok()) return place.status();
  if (place->kind != os::Tree::Place::Kind::kInside) return std::nullopt;
  if (place->path.empty()) {
    return model::Failure(model::Reaction::kHaltJob,
                          absl::StrCat("state directory ", model::QuotePath(directory),
                                       " is the source itself; choose another state_dir"));
  }
  return place->path;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Source>> Source::Open(const config::Job& config, const std::string& state_dir) {
  std::unique_ptr<Source> source(new Source(config));
  auto mount = watch::ResolveMount(config.source);
  if (!mount.ok()) return mount.status();
  source->mount_ = *std::move(mount);
  auto tree = os::Tree::Open(config.source);
  if (!tree.ok()) return tree.status();
  source->tree_ = *std::move(tree);
  struct stat root {};
  if (::fstat(source->tree_->root_fd(), &root) != 0) {
    return model::SystemFailure(model::Reaction::kRetry, "stat", config.source, errno);
  }
  if (root.st_dev != source->mount_.device) {
    return model::Failure(model::Reaction::kRetry, absl::StrCat("open ", model::QuotePath(config.source),
                                                                ": something is being mounted there; it is tried again"));
  }
  source->selection_.filter = config.filter;
  auto place = PlaceBelow(source->mount_, *source->tree_, state_dir);
  if (!place.ok()) return place.status();
  if (*place) source->selection_.ignored.push_back(**place);
  return source;
}

Source::~Source() {
  if (watcher_ == nullptr) return;
  watcher_->Unsubscribe(subscription_);
  watchers_->Release(watcher_);
}

absl::Status Source::Watch(Watchers* watchers, const LogSink& log) {
  if (watcher_ != nullptr) return absl::OkStatus();
  auto watcher = watchers->Obtain(mount_);
  if (!watcher.ok()) return watcher.status();
  watchers_ = watchers;
  watcher_ = *std::move(watcher);
  watch::Subscription subscription;
  subscription.tree = tree_.get();
  subscription.filter = selection_.filter;
  subscription.ignored = selection_.ignored;
  subscription.changed = [this](absl::Span<const model::Change> changes) { fanout_.Changed(changes); };
  subscription.lost = [this, log] {
    log(Severity::kWarning, absl::StrCat("job ", config_.name, ": events were lost, or its filesystem reports damage; scanning the source"));
    fanout_.Rescan();
  };
  subscription_ = watcher_->Subscribe(std::move(subscription));
  watchers->Start(watcher_);
  return absl::OkStatus();
}

std::optional<std::string> Source::WhyLost() const {
  const std::string source = absl::StrCat("source ", model::QuotePath(config_.source));
  const auto mounted = watch::IsStillMounted(mount_);
  const std::string filesystem = absl::StrCat("the filesystem of ", source, " (", mount_.type, " on ", mount_.source, ")");
  const std::string gone = mounted.ok() && *mounted
                               ? absl::StrCat("another filesystem is mounted over ", source, "; unmount it")
                               : absl::StrCat(filesystem, " was unmounted; mount it again");
  // The descriptor lives for this check only: one that stays would keep a person's umount from succeeding.
  const os::UniqueFd now(::open(config_.source.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!now) {
    const int error = errno;
    if (mounted.ok() && !*mounted) return gone;
    return absl::StrCat(source, " cannot be opened any more: ", std::strerror(error), "; put it back");
  }
  struct stat status {
  }, opened{};
  if (::fstat(now.get(), &status) != 0 || ::fstat(tree_->root_fd(), &opened) != 0) {
    return absl::StrCat(source, " cannot be looked at: ", std::strerror(errno), "; see the kernel's log");
  }
  if (status.st_dev != opened.st_dev) return gone;
  model::FileId id;
  if (const int error = os::IdAt(now.get(), "", &id); error != 0) {
    return absl::StrCat(source, " cannot be identified: ", std::strerror(error), "; see the kernel's log");
  }
  if (id != tree_->root()) return absl::StrCat(source, " is another directory than it was; put it back");
  if (watcher_ != nullptr && !watcher_->MarkAlive()) return absl::StrCat(filesystem, " is not watched any more");
  return std::nullopt;
}

absl::StatusOr<bool> Source::IsEmpty() const {
  const os::UniqueFd listing(::openat(tree_->root_fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!listing) return model::SystemFailure(model::Reaction::kRetry, "open", config_.source, errno);
  os::Entries entries;
  entries.Start(listing.get());
  os::Entries::Entry entry;
  int error = 0;
  const os::Entries::Result result = entries.Next(&entry, &error);
  if (result == os::Entries::Result::kError) {
    return model::SystemFailure(model::Reaction::kRetry, "list", config_.source, error);
  }
  return result == os::Entries::Result::kEnd;
}

SourceSight LookAtSource(const std::string& path) {
  SourceSight sight;
  const os::UniqueFd fd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  struct statx found {};
  if (!fd || ::statx(fd.get(), "", AT_EMPTY_PATH, STATX_MNT_ID, &found) != 0) {
    sight.error = errno;
    return sight;
  }
  sight.device = makedev(found.stx_dev_major, found.stx_dev_minor);
  sight.mount_id = found.stx_mnt_id;
  sight.error = os::IdAt(fd.get(), "", &sight.root);
  return sight;
}

}  // namespace fanmirror::daemon
