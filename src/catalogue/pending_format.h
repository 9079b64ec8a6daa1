#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "catalogue/pending_set.h"

namespace fanmirror::catalogue {

// The pending set as LMDB holds it (env "pending"). Version 3.
//
//   file  boot_id                          beside the environment: the boot in which it was written
//   table meta    "format" -> version:u32, "sequence" -> u64 (the last number given), "completeness" -> token:u64 scope
//   table entries place -> entry
//   table due     time:u64 place -> ""     entries that wait; the first is the next to be looked at
//   table oldest  sequence:u64 place -> "" all entries; the first holds the barrier
//   table taken   place -> ""              entries under way: due at once when the process is started again
//   table failing place -> ""              entries with attempts > 0
//   table journal batch:u64 part:u64 -> touched*
//
//   place   = kind:u8 id name              id as in record_format.h; the name is the rest, empty unless kind
//   is kName entry   = flags:u8 first:u64 last:u64 first_ns:i64 last_ns:i64 due_ns:i64 not_before_ns:i64
//             taken_last:u64 taken_ns:i64 since:u64 since_ns:i64 retried:u64 attempts:u32 length:u32 path error
//   flags   = 1 content | 2 startup | 4 waits (is in `due` at due_ns)
//   touched = recursive:u8 length:u32 path
//
// Numbers in keys are big-endian (signed ones with the sign bit flipped), so that byte order is their order.
//
// Reasons:
// - The boot id is a file and not a row: after a power cut the environment must not even be opened, for
// without syncs
//   its pages may be of any age.
// - due and oldest hold the place in their key: two entries may have the same time or number, and then both
// have a row.
// - "taken" is of the newest taking only: taken_last is the last sequence that it covers, since the first
// number noted
//   after it (0: none). A place that was noted again while taken can be taken again; the earlier taking then
//   proves what it covers and no more (see Advance in pending_settle.cc).
// - retried is the number of the newest retry of changes before it. A taking that does not cover it began before it was
//   known that they are not proved, and proves nothing here, whenever its proof comes.
// - A kind of its own for each table instead of one table with prefixes: each is appended to or eaten from
// one end, and
//   the number of rows of each is a figure that LMDB keeps.

constexpr std::uint32_t kPendingFormat = 3;
constexpr std::string_view kCompletenessKey = "completeness";

struct StoredEntry {
  bool content = false;
  bool startup = false;
  bool waits = false;  // has a row in `due`
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  std::int64_t first_ns = 0;
  std::int64_t last_ns = 0;
  std::int64_t due_ns = 0;         // of the row in `due`; of the last one when it does not wait
  std::int64_t not_before_ns = 0;  // end of the back-off
  std::uint64_t taken_last = 0;    // 0: not under way
  std::int64_t taken_ns = 0;
  std::uint64_t since = 0;  // first number noted after the taking
  std::int64_t since_ns = 0;
  std::uint64_t retried = 0;  // 0: no retry waits for a taking
  std::uint32_t attempts = 0;
  std::string path;
  std::string error;
};

// "" when the change cannot be a place: no id, or a name that is none.
std::string PlaceKey(const model::Change& change);
// `time` or `sequence` in the order of their bytes, then the place.
std::string IndexKey(std::uint64_t ordered, std::string_view place);
std::string_view PlaceOfIndexKey(std::string_view key);

std::string EncodeEntry(const StoredEntry& entry);
std::string JournalKey(std::uint64_t batch, std::uint32_t part);
void AppendTouched(const PendingSet::Touched& touched, std::string* out);

std::string EncodeCompleteness(const PendingSet::Completeness& completeness);

// nullopt when the bytes are not exactly one of what is asked for.
std::optional<StoredEntry> DecodeEntry(std::string_view bytes);
std::optional<model::Change> DecodePlace(std::string_view bytes);
std::optional<std::uint64_t> DecodeIndexNumber(std::string_view key);
std::optional<PendingSet::Completeness> DecodeCompleteness(std::string_view bytes);
struct JournalPart {
  std::uint64_t batch = 0;
  std::uint32_t part = 0;
};
std::optional<JournalPart> DecodeJournalKey(std::string_view bytes);
// Appends to `out`; false when `bytes` are not whole items.
bool DecodeTouched(std::string_view bytes, std::vector<PendingSet::Touched>* out);

}  // namespace fanmirror::catalogue
