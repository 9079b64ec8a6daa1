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
#include "hash/content_hasher.h"
#include "model/failure.h"
#include "os/entries.h"
#include "os/xattrs.h"

namespace fanmirror::apply {
namespace {

// Of an open node (O_PATH). 0 or an errno.
int AddDigests(int fd, wire::ListedEntry* entry) {
  std::vector<model::Xattr> xattrs;
  if (const int error = os::ReadXattrs(fd, /*path_only=*/true, &xattrs); error != 0) return error;
  entry->xattrs = hash::DigestOf(absl::MakeConstSpan(xattrs));
  if (entry->metadata.type != model::NodeType::kSymlink) return 0;
  char target[PATH_MAX];
  const ssize_t length = readlinkat(fd, "", target, sizeof target);
  if (length < 0) return errno;
  entry->symlink_target = hash::DigestOf(std::string_view(target, static_cast<std::size_t>(length)));
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

// Adds the next entries, up to a Listing's full, with `last` at the end of the directory.
absl::Status Fill(os::Entries* entries, int dir_fd, const wire::List& list, wire::Listing* listing) {
  listing->entries.clear();
  while (listing->entries.size() < wire::kMaxListingEntries) {
    os::Entries::Entry entry;
    int error = 0;
    switch (entries->Next(&entry, &error)) {
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

absl::Status AnswerFailure(wire::Listing* listing, const absl::Status& failure,
                           absl::FunctionRef<absl::Status(const wire::Listing&)> answer) {
  listing->last = true;
  listing->error = std::string(failure.message());
  listing->reaction = model::ReactionOf(failure);
  return answer(*listing);
}

}  // namespace

absl::Status ListPlace(Root* root, const wire::List& list,
                       absl::FunctionRef<absl::Status(const wire::Listing&)> answer) {
  wire::Listing listing;
  listing.id = list.id;
  const absl::StatusOr<os::UniqueFd> place = root->OpenNode(list.path, O_PATH);
  if (!place.ok() && !MeansAbsent(place.status())) return AnswerFailure(&listing, place.status(), answer);
  if (!place.ok()) {
    listing.last = true;
    return answer(listing);
  }
  if (const int error = Describe(place->get(), "", list.digests, &listing.self); error != 0) {
    return AnswerFailure(&listing, StepFailure(Step::kInspect, list.path, error), answer);
  }
  listing.exists = true;
  if (!list.children || listing.self.metadata.type != model::NodeType::kDirectory) {
    listing.last = true;
    return answer(listing);
  }
  const os::UniqueFd dir(openat(place->get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir) return AnswerFailure(&listing, StepFailure(Step::kList, list.path, errno), answer);
  os::Entries entries;
  entries.Start(dir.get(), list.after);
  do {
    const absl::Status filled = Fill(&entries, dir.get(), list, &listing);
    if (!filled.ok()) return AnswerFailure(&listing, filled, answer);
    if (absl::Status status = answer(listing); !status.ok()) return status;
  } while (!listing.last && !list.one_page);
  return absl::OkStatus();
}

}  // namespace fanmirror::apply
