#include "replicate/entry_reader.h"

#include <utility>
#include <variant>

#include "model/content_hasher.h"
#include "model/failure.h"

namespace fanmirror::replicate {

namespace {

// Files that the target is asked to hash ahead of those that are read here.
constexpr std::size_t kHashesAhead = 16;
static_assert(kHashesAhead <= wire::kMaxHashFiles);

}  // namespace

absl::StatusOr<std::unique_ptr<EntryReader>> EntryReader::Create(const os::Tree* tree, Inquiries* inquiries, bool content,
                                                                 std::function<bool()> abandoned) {
  auto reader = read::Reader::Create(tree);
  if (!reader.ok()) return reader.status();
  return std::unique_ptr<EntryReader>(new EntryReader(*std::move(reader), inquiries, content, std::move(abandoned)));
}

bool EntryReader::Hashes(const Pair& pair) const {
  return content_ && pair.source.metadata.type == model::NodeType::kRegular &&
         pair.target.metadata.type == model::NodeType::kRegular &&
         pair.source.metadata.size == pair.target.metadata.size;
}

absl::Status EntryReader::Compare(std::vector<Pair>* pairs) {
  std::size_t submitted = 0;
  absl::Status status;
  for (std::size_t i = 0; i < pairs->size(); ++i) {
    for (; status.ok() && submitted < pairs->size() && reader_->Accepts() && asked_.size() < kHashesAhead; ++submitted) {
      const Pair& ahead = (*pairs)[submitted];
      reader_->Submit({.id = ahead.source.id, .content = Hashes(ahead), .check_content = false, .known_hash = {}});
      if (Hashes(ahead)) asked_.push_back(inquiries_->Ask(wire::HashFile{0, ahead.path}));
    }
    if (i == submitted) break;  // given up: what was submitted before is read to its end, and dropped
    Pair& pair = (*pairs)[i];
    std::optional<SourceEntry> source;
    ReadSource(&pair, &source);
    std::optional<model::ContentHash> target_content;
    if (status.ok() && Hashes(pair)) {
      auto hash = TakeTargetHash(&pair);
      status = hash.status();
      if (hash.ok()) target_content = *hash;
    }
    if (source) pair.comparison = replicate::Compare(*source, pair.target, target_content);
  }
  asked_.clear();
  return status;
}

// Takes all parts of the request, whatever comes of it.
void EntryReader::ReadSource(Pair* pair, std::optional<SourceEntry>* out) {
  SourceEntry entry;
  model::SparseHasher hasher;
  for (;;) {
    const read::Part part = reader_->Next();
    if (const auto* begin = std::get_if<read::Begin>(&part)) {
      entry.metadata = begin->metadata;
      entry.xattrs = model::DigestOf(absl::MakeConstSpan(begin->xattrs));
      entry.symlink_target = begin->symlink_target.empty() ? model::ContentHash{} : model::DigestOf(begin->symlink_target);
    } else if (const auto* data = std::get_if<read::Data>(&part)) {
      if (!abandoned_()) hasher.Add(data->offset, data->bytes);
      pair->hashed_bytes += data->bytes.size();
    } else if (const auto* end = std::get_if<read::End>(&part)) {
      pair->moved = end->raced || entry.metadata != pair->source.metadata;
      pair->hashed = Hashes(*pair);
      if (pair->hashed) entry.content = hasher.Finish(entry.metadata.size);
      if (!pair->moved) *out = std::move(entry);
      return;
    } else if (const auto* failed = std::get_if<read::Failed>(&part)) {
      pair->failure = failed->status;
      return;
    } else {
      pair->moved = true;
      return;
    }
  }
}

absl::StatusOr<std::optional<model::ContentHash>> EntryReader::TakeTargetHash(Pair* pair) {
  const auto answer = inquiries_->Await(asked_.front(), abandoned_);
  asked_.pop_front();
  if (!answer.ok()) return answer.status();
  const auto* hash = std::get_if<wire::FileHash>(&*answer);
  if (hash == nullptr) return model::Failure(model::Reaction::kReconnect, "the target answered another question");
  if (!hash->error.empty()) pair->failure = model::Failure(hash->reaction, "on the target: " + hash->error);
  if (!hash->exists) return std::nullopt;
  return hash->hash;
}

}  // namespace fanmirror::replicate
