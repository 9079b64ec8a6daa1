#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "model/failure.h"
#include "model/metadata.h"
#include "model/op.h"
#include "model/xattr.h"

// The messages of messages.proto as plain structs; writing them into frames and taking them out of payloads.
// Whatever Parse... gives has been checked: enums are known, paths stay below the root, names are single
// components, times and modes are in range. A message that fails the check is an error with
// Reaction::kReconnect.
namespace fanmirror::wire {

// Bytes of one path: far beyond PATH_MAX, because a tree may be deeper; two of them fit a payload.
inline constexpr std::size_t kMaxPathBytes = std::size_t{256} << 10;
// Bytes of one component: NAME_MAX of every filesystem that we write to.
inline constexpr std::size_t kMaxNameBytes = 255;
// Ops of one batch: bounds what both sides remember of a batch, and keeps the Ack of a batch that failed
// whole in a frame.
inline constexpr std::uint32_t kMaxBatchOps = 65'536;
// Of Hello.silence.
inline constexpr absl::Duration kMaxSilence = absl::Hours(1);
// Within that time each side says something so often.
inline constexpr int kHeartbeats = 4;
// Numbers of batches: so many that none is ever reached by counting, and one more still is a number.
inline constexpr std::uint64_t kMaxBatchNumber = INT64_MAX;
// Entries of one Listing: some 50 KB, so that a large directory does not hold up Acks.
inline constexpr std::size_t kMaxListingEntries = 1'000;

// HashFiles that are not answered: each holds a file open on the target.
inline constexpr std::size_t kMaxHashFiles = 32;

struct Hello {
  std::uint32_t protocol = 0;
  std::string program;  // version of the program, for messages
  std::string job;
  std::string instance;  // who the source is to this target
  std::string source;    // host:path, for messages
  std::string path;      // the root that is wanted; empty: whatever the receiver was started with
  bool adopt = false;
  bool established = false;  // the source had a batch acknowledged before: a missing marker is refused
  // Who hears nothing of the other for so long takes it for lost, so both say something four times as often. 0: nobody
  // does. At most kMaxSilence.
  absl::Duration silence = absl::ZeroDuration();
};

struct HelloReply {
  std::uint32_t protocol = 0;
  std::string program;
  std::string refusal;                                     // not empty: one line why the receiver ends
  model::Reaction reaction = model::Reaction::kReconnect;  // of the refusal
  std::uint64_t begun = 0;    // number of the last batch of which something may have been applied
  std::uint64_t durable = 0;  // number of the last batch that is durable; never above `begun`
  bool empty = false;
  std::string filesystem;
  std::string root;
};

struct BatchBegin {
  std::uint64_t number = 0;
  std::uint64_t settled = 0;  // failures of batches up to this number are known to the source; below `number`
};

// An op as it travels. `metadata`, `xattrs` and `symlink_target` belong to kMake, kPut and kSetMetadata. Of
// `op` only kind, path, from and type travel.
struct ReceivedOp {
  model::Op op;
  model::Metadata metadata;
  std::vector<model::Xattr> xattrs;
  std::string symlink_target;
};

struct OpFailure {
  std::uint32_t index = 0;  // of the op in its batch, from 0
  model::Reaction reaction = model::Reaction::kRetry;
  std::string message;  // one line; may be empty when a batch had very many failures
  bool untried = false;  // nothing was done: an op before it failed there
};

struct Ack {
  std::uint64_t number = 0;
  std::vector<OpFailure> failures;  // by ascending index
};

struct List {
  std::uint64_t id = 0;
  std::string path;
  bool children = false;
  std::uint64_t after = 0;  // with children: `next` of a Listing before (of whatever connection), 0 to begin
  bool digests = false;   // with the digests of each entry
  bool one_page = false;  // one Listing answers; whoever wants more asks again
};

struct ListedEntry {
  std::string name;          // empty for the place itself
  model::Metadata metadata;  // without ctime
  std::uint64_t inode = 0;   // equal: the same node
  // Where digests were asked for.
  model::ContentHash xattrs = {};
  model::ContentHash symlink_target = {};
};

struct Listing {
  std::uint64_t id = 0;
  bool last = false;  // there are no more entries
  bool exists = false;
  ListedEntry self;  // when it exists; in the first frame of an answer
  std::vector<ListedEntry> entries;
  std::string error;  // not empty: nothing may be concluded
  model::Reaction reaction = model::Reaction::kRetry;
  std::uint64_t next = 0;  // not `last`: List.after for those that follow
};

struct HashFile {
  std::uint64_t id = 0;
  std::string path;
  std::uint64_t bytes_per_second = 0;  // so fast may it be read; 0: no limit
};

struct FileHash {
  std::uint64_t id = 0;
  bool exists = false;  // there is a regular file, and `hash` is of its content (hash::SparseHasher)
  model::ContentHash hash = {};
  std::string error = {};  // not empty: nothing may be concluded
  model::Reaction reaction = model::Reaction::kRetry;
};

struct Ping {
  std::uint64_t id = 0;
};

// Each appends one frame to `out`.
void AppendHello(const Hello& hello, std::string* out);
void AppendHelloReply(const HelloReply& reply, std::string* out);
void AppendBatchBegin(const BatchBegin& begin, std::string* out);
void AppendBatchEnd(std::uint64_t number, std::string* out);
void AppendAck(const Ack& ack, std::string* out);
void AppendList(const List& list, std::string* out);
void AppendListing(const Listing& listing, std::string* out);
void AppendHashFile(const HashFile& hash_file, std::string* out);
void AppendFileHash(const FileHash& file_hash, std::string* out);
void AppendPing(const Ping& ping, std::string* out);

// For kMake, kPut and kSetMetadata. `symlink_target`: of symlinks, else empty. Fails with kSkipAndReport, and
// leaves `out` as it was, when the node cannot be told: paths or xattrs too large for a frame, a name of
// impossible length.
absl::Status AppendOp(const model::Op& op, const model::Metadata& metadata,
                      absl::Span<const model::Xattr> xattrs, std::string_view symlink_target,
                      std::string* out);
// For the other kinds.
absl::Status AppendOp(const model::Op& op, std::string* out);

absl::StatusOr<Hello> ParseHello(std::string_view payload);
absl::StatusOr<HelloReply> ParseHelloReply(std::string_view payload);
absl::StatusOr<BatchBegin> ParseBatchBegin(std::string_view payload);
absl::StatusOr<std::uint64_t> ParseBatchEnd(std::string_view payload);
absl::StatusOr<ReceivedOp> ParseOp(std::string_view payload);
absl::StatusOr<Ack> ParseAck(std::string_view payload);
absl::StatusOr<List> ParseList(std::string_view payload);
absl::StatusOr<Listing> ParseListing(std::string_view payload);
absl::StatusOr<HashFile> ParseHashFile(std::string_view payload);
absl::StatusOr<FileHash> ParseFileHash(std::string_view payload);
absl::StatusOr<Ping> ParsePing(std::string_view payload);

// True for a path as an op has it: "" or components joined by single '/', none of them empty, "." or "..",
// longer than kMaxNameBytes or with a NUL; at most kMaxPathBytes.
bool IsRelativePath(std::string_view path);
// True for one such component.
bool IsName(std::string_view name);

}  // namespace fanmirror::wire
