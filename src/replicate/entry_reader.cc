#include "replicate/entry_reader.h"

#include <utility>
#include <variant>

#include "hash/content_hasher.h"
#include "model/failure.h"

namespace fanmirror::replicate {

namespace {

// Files that the target is asked to hash ahead of those that are read here.
constexpr std::size_t kHashesAhead = 16;
static_assert(kHashesAhead <= wire::kMaxHashFiles);

}  // namespace

absl::StatusOr<std::unique_ptr<EntryReader>> EntryReader::Create(Options options) {
  auto reader = read::Reader::Create(options.tree, [selection = options.selection](const std::string& path, bool is_directory) {
    return !selection->ExcludesWithParents(path, is_directory);
  });
  if (!reader.ok()) return reader.status();
  return std::unique_ptr<EntryReader>(new EntryReader(std::move(options), *std::move(reader)));
}

bool EntryReader::Hashes(const Pair& pair) const {
  return options_.content && pair.source.metadata.type == model::NodeType::kRegular &&
         pair.target.metadata.type == model::NodeType::kRegular &&
         pair.source.metadata.size == pair.target.metadata.size;
}

absl::Status EntryReader::Compare(std::vector<Pair>* pairs) {
  std::size_t submitted = 0;
  for (Pair& pair : *pairs) {
    for (; submitted < pairs->size() && reader_->Accepts() && asked_.size() < kHashesAhead; ++submitted) {
      const Pair& ahead = (*pairs)[submitted];
      reader_->Submit({.id = ahead.source.id,
                       .content = Hashes(ahead),
                       .check_content = false,
                       .known_hash = {},
                       .names = ahead.name.name.empty() ? std::vector<model::Name>{} : std::vector<model::Name>{ahead.name},
                       .path = ahead.path});
      if (Hashes(ahead)) asked_.push_back(options_.inquiries->Ask(wire::HashFile{0, ahead.path, options_.bytes_per_second}));
    }
    if (absl::Status status = ComparePair(&pair); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status EntryReader::ComparePair(Pair* pair) {
  std::optional<SourceEntry> source;
  if (absl::Status status = ReadSource(pair, &source); !status.ok()) return status;
  std::optional<model::ContentHash> target_content;
  if (Hashes(*pair)) {
    const auto hash = TakeTargetHash(pair);
    if (!hash.ok()) return hash.status();
    target_content = *hash;
  }
  if (source) pair->comparison = replicate::Compare(*source, pair->target, target_content);
  return absl::OkStatus();
}

// Takes all parts of the request, unless it is given up.
absl::Status EntryReader::ReadSource(Pair* pair, std::optional<SourceEntry>* out) {
  SourceEntry entry;
  hash::SparseHasher hasher;
  for (;;) {
    const read::Part part = reader_->Next();
    if (const auto* begin = std::get_if<read::Begin>(&part)) {
      entry.metadata = begin->metadata;
      entry.xattrs = hash::DigestOf(absl::MakeConstSpan(begin->xattrs));
      entry.symlink_target = begin->symlink_target.empty() ? model::ContentHash{} : hash::DigestOf(begin->symlink_target);
    } else if (const auto* data = std::get_if<read::Data>(&part)) {
      hasher.Add(data->offset, data->bytes);
      if (absl::Status status = options_.pace(data->bytes.size()); !status.ok()) return status;
    } else if (const auto* end = std::get_if<read::End>(&part)) {
      pair->moved = end->raced || entry.metadata != pair->source.metadata;
      pair->hashed = Hashes(*pair);
      if (pair->hashed) entry.content = hasher.Finish(entry.metadata.size);
      if (!pair->moved) *out = entry;
      return absl::OkStatus();
    } else if (const auto* failed = std::get_if<read::Failed>(&part)) {
      pair->failure = failed->status;
      return absl::OkStatus();
    } else {  // gone, or not where it belongs to the job
      pair->moved = true;
      return absl::OkStatus();
    }
  }
}

absl::StatusOr<std::optional<model::ContentHash>> EntryReader::TakeTargetHash(Pair* pair) {
  const auto answer = options_.inquiries->Await(asked_.front(), options_.abandoned);
  asked_.pop_front();
  if (!answer.ok()) return answer.status();
  const auto* hash = std::get_if<wire::FileHash>(&*answer);
  if (hash == nullptr) return model::Failure(model::Reaction::kReconnect, "the target answered another question");
  if (!hash->error.empty()) pair->failure = model::Failure(hash->reaction, "on the target: " + hash->error);
  if (!hash->exists) {
    pair->moved = true;  // it was listed
    return std::nullopt;
  }
  return hash->hash;
}

}  // namespace fanmirror::replicate
