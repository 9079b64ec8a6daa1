#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "catalogue/pending_format.h"
#include "catalogue/record_format.h"

// Rows of the stores, as a damaged file may have them: refused, or exactly what is written for what was read.
namespace {

using namespace fanmirror::catalogue;  // NOLINT: all of it is on trial

void Expect(bool holds) {
  if (!holds) std::abort();
}

void TryNode(std::string_view bytes) {
  const auto node = DecodeNode(bytes);
  Expect(node.has_value() == DecodeRecord(bytes).has_value() || !node.has_value());
  if (node) Expect(EncodeNode(node->record, node->names) == std::string(bytes));
}

void TryHeader(std::string_view bytes) {
  if (const auto header = DecodeHeader(bytes)) Expect(EncodeHeader(*header) == std::string(bytes));
}

void TryId(std::string_view bytes) {
  if (const auto id = DecodeId(bytes)) Expect(id->Encode() == bytes);
}

void TryEntry(std::string_view bytes) {
  if (const auto entry = DecodeEntry(bytes)) Expect(EncodeEntry(*entry) == bytes);
}

void TryPlace(std::string_view bytes) {
  if (const auto place = DecodePlace(bytes)) Expect(PlaceKey(*place) == bytes);
}

void TryKeys(std::string_view bytes) {
  if (const auto number = DecodeIndexNumber(bytes)) Expect(IndexKey(*number, PlaceOfIndexKey(bytes)) == bytes);
  if (const auto part = DecodeJournalKey(bytes)) Expect(JournalKey(part->batch, part->part) == bytes);
}

void TryCompleteness(std::string_view bytes) {
  if (const auto completeness = DecodeCompleteness(bytes)) Expect(EncodeCompleteness(*completeness) == bytes);
}

void TryTouched(std::string_view bytes) {
  std::vector<PendingSet::Touched> touched;
  if (!DecodeTouched(bytes, &touched)) return;
  std::string again;
  for (const PendingSet::Touched& one : touched) AppendTouched(one, &again);
  Expect(again == bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  constexpr void (*kTries[])(std::string_view) = {TryNode, TryHeader, TryId, TryEntry, TryPlace, TryKeys, TryTouched, TryCompleteness};
  kTries[data[0] % std::size(kTries)](bytes);
  return 0;
}
