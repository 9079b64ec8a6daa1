#include "apply/listing.h"

#include <fcntl.h>
#include <linux/limits.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "apply/failures.h"
#include "apply/home.h"
#include "apply/node.h"
#include "model/content_hasher.h"
#include "model/failure.h"
#include "os/entries.h"
#include "os/xattrs.h"

namespace fanmirror::apply {
namespace {

// Of an open node (O_PATH). 0 or an errno.
int AddDigests(int fd, wire::ListedEntry* entry) {
  std::vector<model::Xattr> xattrs;
  if (const int error = os::ReadXattrs(fd, /*path_only=*/true, &xattrs); error != 0) return error;
  entry->xattrs = model::DigestOf(absl::MakeConstSpan(xattrs));
  if (entry->metadata.type != model::NodeType::kSymlink) return 0;
  char target[PATH_MAX];
  const ssize_t length = readlinkat(fd, "", target, sizeof target);
  if (length < 0) return errno;
  entry->symlink_target = model::DigestOf(std::string_view(target, static_cast<std::size_t>(length)));
  return 0;
}

// `name` relative to `dir_fd` ("": the descriptor itself). 0 or an errno.
int Describe(int dir_fd, const char* name, bool digests, wire::ListedEntry* entry) {
  Inspected node;
  os::UniqueFd held;
  if (digests && *name != '\0') {
    held.reset(openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (!held) return errno;
  }
  const int fd = held ? held.get() : dir_fd;
  if (const int error = Inspect(fd, held ? "" : name, &node); error != 0) return error;
  entry->name = name;
  entry->metadata = node.metadata;
  entry->inode = node.inode;
  return digests ? AddDigests(fd, entry) : 0;
}

// Adds the next entries, up to a Listing's full.
absl::Status Fill(int dir_fd, const wire::List& list, wire::Listing* listing) {
  os::Entries entries;
  entries.Start(dir_fd, list.after);
  while (listing->entries.size() < wire::kMaxListingEntries) {
    os::Entries::Entry entry;
    int error = 0;
    switch (entries.Next(&entry, &error)) {
      case os::Entries::Result::kError:
        return StepFailure(Step::kList, list.path, error);
      case os::Entries::Result::kEnd:
        listing->last = true;
        return absl::OkStatus();
      case os::Entries::Result::kEntry:
        break;
    }
    listing->next = entry.next;
    if (list.path.empty() && entry.name == kHomeName) continue;
    wire::ListedEntry described;
    error = Describe(dir_fd, entry.name, list.digests, &described);
    if (error == ENOENT) continue;  // removed meanwhile
    if (error != 0) return StepFailure(Step::kInspect, list.path + "/" + entry.name, error);
    listing->entries.push_back(std::move(described));
  }
  return absl::OkStatus();
}

absl::Status List(Root* root, const wire::List& list, wire::Listing* listing) {
  const absl::StatusOr<os::UniqueFd> place = root->OpenNode(list.path, O_PATH);
  listing->last = true;
  if (!place.ok()) return MeansAbsent(place.status()) ? absl::OkStatus() : place.status();
  if (const int error = Describe(place->get(), "", list.digests, &listing->self); error != 0) {
    return StepFailure(Step::kInspect, list.path, error);
  }
  listing->exists = true;
  if (!list.children || listing->self.metadata.type != model::NodeType::kDirectory) return absl::OkStatus();
  const os::UniqueFd dir(openat(place->get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir) return StepFailure(Step::kList, list.path, errno);
  listing->last = false;
  return Fill(dir.get(), list, listing);
}

}  // namespace

wire::Listing ListPlace(Root* root, const wire::List& list) {
  wire::Listing listing;
  listing.id = list.id;
  const absl::Status failure = List(root, list, &listing);
  if (!failure.ok()) {
    listing.last = true;
    listing.error = std::string(failure.message());
    listing.reaction = model::ReactionOf(failure);
  }
  return listing;
}

}  // namespace fanmirror::apply
