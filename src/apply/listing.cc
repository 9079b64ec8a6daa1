#include "apply/listing.h"

#include <fcntl.h>

#include <cerrno>
#include <string>
#include <utility>

#include "apply/failures.h"
#include "apply/home.h"
#include "apply/node.h"
#include "model/failure.h"
#include "os/entries.h"

namespace fanmirror::apply {
namespace {

wire::ListedEntry ToEntry(std::string name, const Inspected& node) {
  return {std::move(name), node.metadata, node.inode};
}

absl::Status AnswerFailure(wire::Listing* listing, const absl::Status& failure,
                           absl::FunctionRef<absl::Status(const wire::Listing&)> answer) {
  listing->last = true;
  listing->error = std::string(failure.message());
  listing->reaction = model::ReactionOf(failure);
  return answer(*listing);
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
    if (list.path.empty() && entry.name == kHomeName) continue;
    Inspected node;
    error = Inspect(dir_fd, entry.name, &node);
    if (error == ENOENT) continue;  // removed meanwhile
    if (error != 0) return StepFailure(Step::kInspect, list.path + "/" + entry.name, error);
    listing->entries.push_back(ToEntry(entry.name, node));
  }
  return absl::OkStatus();
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
  Inspected self;
  if (const int error = Inspect(place->get(), "", &self); error != 0) {
    return AnswerFailure(&listing, StepFailure(Step::kInspect, list.path, error), answer);
  }
  listing.exists = true;
  listing.self = ToEntry("", self);
  if (!list.children || self.metadata.type != model::NodeType::kDirectory) {
    listing.last = true;
    return answer(listing);
  }
  const os::UniqueFd dir(openat(place->get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir) return AnswerFailure(&listing, StepFailure(Step::kList, list.path, errno), answer);
  os::Entries entries;
  entries.Start(dir.get());
  while (!listing.last) {
    const absl::Status filled = Fill(&entries, dir.get(), list, &listing);
    if (!filled.ok()) return AnswerFailure(&listing, filled, answer);
    if (absl::Status status = answer(listing); !status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace fanmirror::apply
