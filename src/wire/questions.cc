#include <utility>

#include "wire/message_parts.h"
#include "wire/messages.h"

// The messages by which a source asks what the target holds.
namespace fanmirror::wire {
namespace {

void DigestToMessage(const model::ContentHash& digest, pb::Digest* out) {
  out->set_low(digest.low);
  out->set_high(digest.high);
}

model::ContentHash DigestFromMessage(const pb::Digest& in) { return {.low = in.low(), .high = in.high()}; }

void EntryToMessage(const ListedEntry& entry, pb::Entry* out) {
  out->set_name(entry.name);
  ToMessage(entry.metadata, out->mutable_metadata());
  out->set_inode(entry.inode);
  out->set_links(entry.metadata.links);
  if (entry.xattrs != model::ContentHash{}) DigestToMessage(entry.xattrs, out->mutable_xattrs());
  if (entry.symlink_target != model::ContentHash{}) DigestToMessage(entry.symlink_target, out->mutable_symlink_target());
}

absl::Status EntryFromMessage(pb::Entry* in, ListedEntry* out) {
  if (absl::Status status = FromMessage(in->metadata(), &out->metadata); !status.ok()) return status;
  out->name = std::move(*in->mutable_name());
  out->inode = in->inode();
  out->metadata.links = in->links();
  out->xattrs = DigestFromMessage(in->xattrs());
  out->symlink_target = DigestFromMessage(in->symlink_target());
  return absl::OkStatus();
}

}  // namespace

void AppendList(const List& list, std::string* out) {
  pb::List message;
  message.set_id(list.id);
  message.set_path(list.path);
  message.set_children(list.children);
  message.set_after(list.after);
  message.set_digests(list.digests);
  message.set_one_page(list.one_page);
  AppendMessage(FrameType::kList, message, out);
}

void AppendListing(const Listing& listing, std::string* out) {
  pb::Listing message;
  message.set_id(listing.id);
  message.set_last(listing.last);
  message.set_exists(listing.exists);
  if (listing.exists) EntryToMessage(listing.self, message.mutable_self());
  for (const ListedEntry& entry : listing.entries) EntryToMessage(entry, message.add_entries());
  message.set_error(OneLine(listing.error));
  message.set_reaction(static_cast<std::uint32_t>(listing.reaction));
  message.set_next(listing.next);
  AppendMessage(FrameType::kListing, message, out);
}

void AppendHashFile(const HashFile& hash_file, std::string* out) {
  pb::HashFile message;
  message.set_id(hash_file.id);
  message.set_path(hash_file.path);
  message.set_bytes_per_second(hash_file.bytes_per_second);
  AppendMessage(FrameType::kHashFile, message, out);
}

void AppendFileHash(const FileHash& file_hash, std::string* out) {
  pb::FileHash message;
  message.set_id(file_hash.id);
  message.set_exists(file_hash.exists);
  DigestToMessage(file_hash.hash, message.mutable_hash());
  message.set_error(OneLine(file_hash.error));
  message.set_reaction(static_cast<std::uint32_t>(file_hash.reaction));
  AppendMessage(FrameType::kFileHash, message, out);
}

absl::StatusOr<List> ParseList(std::string_view payload) {
  pb::List message;
  if (absl::Status status = ParseMessage("List", payload, &message); !status.ok()) return status;
  if (!IsRelativePath(message.path())) return Malformed("List", "a path that does not stay below the root");
  return List{message.id(), std::move(*message.mutable_path()), message.children(), message.after(), message.digests(),
              message.one_page()};
}

absl::StatusOr<Listing> ParseListing(std::string_view payload) {
  pb::Listing message;
  if (absl::Status status = ParseMessage("Listing", payload, &message); !status.ok()) return status;
  Listing listing;
  listing.id = message.id();
  listing.last = message.last();
  listing.next = message.next();
  listing.exists = message.exists();
  listing.error = OneLine(message.error());
  if (!listing.error.empty()) {
    if (!IsReaction(message.reaction())) return Malformed("Listing", "an unknown reaction");
    listing.reaction = static_cast<model::Reaction>(message.reaction());
  }
  if (message.has_self() != listing.exists) return Malformed("Listing", "a place that is and is not");
  if (listing.exists) {
    if (absl::Status status = EntryFromMessage(message.mutable_self(), &listing.self); !status.ok()) return status;
    if (!listing.self.name.empty()) return Malformed("Listing", "a name of the place itself");
  }
  if (message.entries_size() > static_cast<int>(kMaxListingEntries))
    return Malformed("Listing", "too many entries");
  listing.entries.reserve(static_cast<std::size_t>(message.entries_size()));
  for (pb::Entry& entry : *message.mutable_entries()) {
    if (absl::Status status = EntryFromMessage(&entry, &listing.entries.emplace_back()); !status.ok())
      return status;
    if (!IsName(listing.entries.back().name)) return Malformed("Listing", "an entry whose name is no name");
  }
  return listing;
}

absl::StatusOr<HashFile> ParseHashFile(std::string_view payload) {
  pb::HashFile message;
  if (absl::Status status = ParseMessage("HashFile", payload, &message); !status.ok()) return status;
  if (!IsRelativePath(message.path())) return Malformed("HashFile", "a path that does not stay below the root");
  return HashFile{message.id(), std::move(*message.mutable_path()), message.bytes_per_second()};
}

absl::StatusOr<FileHash> ParseFileHash(std::string_view payload) {
  pb::FileHash message;
  if (absl::Status status = ParseMessage("FileHash", payload, &message); !status.ok()) return status;
  FileHash file_hash;
  file_hash.id = message.id();
  file_hash.exists = message.exists();
  file_hash.hash = DigestFromMessage(message.hash());
  file_hash.error = OneLine(message.error());
  if (!file_hash.error.empty()) {
    if (!IsReaction(message.reaction())) return Malformed("FileHash", "an unknown reaction");
    file_hash.reaction = static_cast<model::Reaction>(message.reaction());
  }
  return file_hash;
}

}  // namespace fanmirror::wire
