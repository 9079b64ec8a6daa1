#include <sys/statfs.h>

#include <algorithm>
#include <atomic>
#include <random>
#include <thread>

#include "model/content_hasher.h"
#include "read/pieces.h"
#include "read/reader_fixture.h"

namespace fanmirror::read {
namespace {

class ReaderData : public ReaderTest {};

using Runs = std::vector<std::pair<std::uint64_t, std::uint64_t>>;

void AppendLittleEndian(std::uint64_t value, std::string* out) {
  for (int i = 0; i < 8; ++i) out->push_back(static_cast<char>(value >> (8 * i)));
}

// By the grammar, in one go over the whole stream.
model::ContentHash HashOf(const Result& result, std::uint64_t size) {
  std::string stream;
  std::size_t taken = 0;
  for (const auto& [offset, length] : result.runs) {
    stream.append(result.data, taken, length);
    taken += length;
    AppendLittleEndian(offset, &stream);
    AppendLittleEndian(length, &stream);
  }
  AppendLittleEndian(size, &stream);
  const XXH128_hash_t hash = XXH3_128bits(stream.data(), stream.size());
  return {.low = hash.low64, .high = hash.high64};
}

Runs WholeFile(std::size_t size) { return size == 0 ? Runs{} : Runs{{0, size}}; }

const std::vector<std::size_t> kSizes = {
    0, 1, 4095, 4096, 4097, kPieceBytes - 1, kPieceBytes, kPieceBytes + 1, 12 * kPieceBytes + 123};

TEST_P(ReaderData, FilesOfAllSizes) {
  for (const std::size_t size : kSizes) {
    SCOPED_TRACE(size);
    const std::string content = Pattern(0, size);
    Write("f", content);
    const Result result = ReadContent("f");
    ASSERT_TRUE(result.end.has_value()) << result.failure;
    EXPECT_EQ(result.begin->metadata.size, size);
    EXPECT_FALSE(result.begin->unchanged);
    EXPECT_TRUE(result.data == content);
    EXPECT_EQ(result.runs, WholeFile(size));
    EXPECT_EQ(result.end->hash, HashOf(result, size));
    EXPECT_FALSE(result.end->raced);
    EXPECT_EQ(result.end->metadata, result.begin->metadata);
    ASSERT_EQ(::unlink(At("f").c_str()), 0);
  }
}

TEST_P(ReaderData, FilesOfAllSizesFromTheDisk) {
  for (const std::size_t size : kSizes) Write(absl::StrCat(size), Pattern(size, size));
  Sync();
  for (const std::size_t size : kSizes) {
    Evict(absl::StrCat(size));
    reader()->Submit({.id = Id(absl::StrCat(size)), .content = true});
  }
  for (const std::size_t size : kSizes) {
    SCOPED_TRACE(size);
    const Result result = TakeResult(reader());
    ASSERT_TRUE(result.end.has_value()) << result.failure;
    EXPECT_TRUE(result.data == Pattern(size, size));
    EXPECT_EQ(result.runs, WholeFile(size));
    EXPECT_EQ(result.end->hash, HashOf(result, size));
    EXPECT_FALSE(result.end->raced);
  }
}

TEST_P(ReaderData, WithoutContentThereIsNone) {
  Write("f", "content");
  const Result result = Read({.id = Id("f")});
  ASSERT_TRUE(result.end.has_value());
  EXPECT_EQ(result.begin->metadata.size, 7u);
  EXPECT_EQ(result.pieces, 0u);
  EXPECT_EQ(result.end->hash, model::ContentHash{});
}

TEST_P(ReaderData, HolesAreLeftOut) {
  constexpr std::uint64_t kUnit = 1 << 20;
  struct Case {
    const char* name;
    Runs runs;
    std::uint64_t size;
  };
  const std::vector<Case> cases = {
      {"leading", {{kUnit, kUnit}}, 2 * kUnit},
      {"trailing", {{0, kUnit}}, 3 * kUnit},
      {"middle", {{0, kUnit}, {2 * kUnit, kUnit}}, 3 * kUnit},
      {"many", {{kUnit, kUnit}, {4 * kUnit, 2 * kUnit}, {8 * kUnit, kUnit}}, 12 * kUnit},
      {"all", {}, 5 * kUnit},
      {"small", {}, 100},
  };
  for (const Case& test : cases) {
    SCOPED_TRACE(test.name);
    const os::UniqueFd fd = Create(test.name);
    ASSERT_EQ(::ftruncate(fd.get(), static_cast<off_t>(test.size)), 0);
    std::string data;
    for (const auto& [offset, length] : test.runs) {
      data += Pattern(offset, length);
      WriteAt(fd.get(), offset, Pattern(offset, length));
    }
    const Result result = ReadContent(test.name);
    ASSERT_TRUE(result.end.has_value()) << result.failure;
    EXPECT_EQ(result.begin->metadata.size, test.size);
    EXPECT_EQ(result.runs, test.runs);
    EXPECT_TRUE(result.data == data);
    EXPECT_EQ(result.end->hash, HashOf(result, test.size));
    EXPECT_FALSE(result.end->raced);
  }
}

TEST_P(ReaderData, BeyondFourGibibytes) {
  const std::uint64_t size = (5ULL << 30) + 17;
  const Runs runs = {{0, 4096}, {(4ULL << 30) + 65536, 4096}, {5ULL << 30, 17}};
  const os::UniqueFd fd = Create("f");
  for (const auto& [offset, length] : runs) WriteAt(fd.get(), offset, Pattern(offset, length));
  const Result result = ReadContent("f");
  ASSERT_TRUE(result.end.has_value()) << result.failure;
  EXPECT_EQ(result.begin->metadata.size, size);
  // A filesystem may count more of the surroundings as data, not less.
  std::size_t taken = 0;
  std::size_t found = 0;
  for (const auto& [offset, length] : result.runs) {
    for (const auto& [wanted, wanted_length] : runs) {
      if (wanted < offset || wanted + wanted_length > offset + length) continue;
      EXPECT_EQ(result.data.substr(taken + (wanted - offset), wanted_length), Pattern(wanted, wanted_length));
      ++found;
    }
    taken += length;
  }
  EXPECT_EQ(found, runs.size());
  EXPECT_LT(result.data.size(), 1u << 20);
  EXPECT_EQ(result.end->hash, HashOf(result, size));
}

TEST_P(ReaderData, AllocatedZerosAreData) {
  Write("f", std::string(1 << 20, '\0'));
  const Result result = ReadContent("f");
  EXPECT_EQ(result.runs, WholeFile(1 << 20));
}

TEST_P(ReaderData, EqualFilesHaveEqualHashes) {
  Write("a", Pattern(0, 1'000'000));
  Write("b", Pattern(0, 1'000'000));
  Write("c", Pattern(1, 1'000'000));
  Evict("b");
  EXPECT_EQ(ReadContent("a").end->hash, ReadContent("b").end->hash);
  EXPECT_NE(ReadContent("a").end->hash, ReadContent("c").end->hash);
}

TEST_P(ReaderData, ReadsNoFurtherThanTheSizeAtTheBeginning) {
  const std::string content = Pattern(0, 4 * kPieceBytes);
  Write("f", content);
  reader()->Submit({.id = Id("f"), .content = true});
  const Part first = reader()->Next();
  ASSERT_TRUE(std::holds_alternative<Begin>(first));
  WriteAt(Create("f").get(), content.size(), Pattern(content.size(), 100'000));
  std::string data;
  for (;;) {
    const Part part = reader()->Next();
    if (const auto* piece = std::get_if<Data>(&part)) {
      data.append(piece->bytes.data(), piece->bytes.size());
      continue;
    }
    const End* end = std::get_if<End>(&part);
    ASSERT_NE(end, nullptr);
    EXPECT_TRUE(end->raced);
    EXPECT_EQ(end->metadata.size, content.size() + 100'000);
    EXPECT_EQ(end->hash, HashOf({.runs = {{0, content.size()}}, .data = content}, content.size()));
    break;
  }
  EXPECT_TRUE(data == content);
}

TEST_P(ReaderData, AFileThatShrinksEndsEarly) {
  const std::string content = Pattern(0, 16 * kPieceBytes);
  Write("f", content);
  reader()->Submit({.id = Id("f"), .content = true});
  ASSERT_TRUE(std::holds_alternative<Begin>(reader()->Next()));
  ASSERT_TRUE(std::holds_alternative<Data>(reader()->Next()));
  const std::size_t rest = 5 * kPieceBytes + 1000;
  ASSERT_EQ(::truncate(At("f").c_str(), static_cast<off_t>(rest)), 0);
  std::string data = content.substr(0, kPieceBytes);
  for (;;) {
    const Part part = reader()->Next();
    if (const auto* piece = std::get_if<Data>(&part)) {
      EXPECT_EQ(piece->offset, data.size());
      data.append(piece->bytes.data(), piece->bytes.size());
      continue;
    }
    const End* end = std::get_if<End>(&part);
    ASSERT_NE(end, nullptr);
    EXPECT_TRUE(end->raced);
    EXPECT_EQ(end->metadata.size, rest);
    EXPECT_EQ(end->hash, HashOf({.runs = {{0, data.size()}}, .data = data}, content.size()));
    break;
  }
  EXPECT_GE(data.size(), rest);
  EXPECT_LT(data.size(), content.size());
  EXPECT_TRUE(content.starts_with(data));
}

TEST_P(ReaderData, ARewriteOfTheSameSizeIsSeen) {
  Write("f", Pattern(0, 3 * kPieceBytes));
  reader()->Submit({.id = Id("f"), .content = true});
  ASSERT_TRUE(std::holds_alternative<Begin>(reader()->Next()));
  ASSERT_TRUE(std::holds_alternative<Data>(reader()->Next()));
  const model::Metadata before = Stat("f");
  // The stamp is that of the last tick: only when that has moved on, a stamp can tell.
  while (Stat("f").ctime == before.ctime) WriteAt(Create("f").get(), 0, "x");
  for (;;) {
    const Part part = reader()->Next();
    if (std::holds_alternative<Data>(part)) continue;
    ASSERT_TRUE(std::holds_alternative<End>(part));
    EXPECT_TRUE(std::get<End>(part).raced);
    break;
  }
}

// Whatever a writer does meanwhile: each byte that is given was once at its place, and nothing fails.
TEST_P(ReaderData, AWriterAtWork) {
  constexpr std::size_t kMost = 4 * kPieceBytes;
  Write("f", Pattern(0, kMost));
  std::atomic<bool> stop = false;
  std::atomic<int> changes = 0;
  std::thread writer([&, fd = Create("f")] {
    std::mt19937 random(7);
    while (!stop) {
      const std::size_t size = random() % kMost;
      EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(size)), 0);
      const std::size_t at = random() % kMost / 4096 * 4096;
      WriteAt(fd.get(), at, Pattern(at, std::min<std::size_t>(kMost - at, 300'000)));
      ++changes;
    }
  });
  int raced = 0;
  const std::string pattern = Pattern(0, kMost);
  // Until both have met often enough, each in the midst of the other's work.
  for (int i = 0; i < 20'000 && (i < 50 || raced < 10 || changes < 50); ++i) {
    const Result result = ReadContent("f");
    ASSERT_TRUE(result.end.has_value()) << result.failure;
    if (result.end->raced) ++raced;
    std::size_t taken = 0;
    for (const auto& [offset, length] : result.runs) {
      ASSERT_LE(offset + length, result.begin->metadata.size);
      for (std::uint64_t place = offset; place < offset + length; ++place, ++taken) {
        ASSERT_TRUE(result.data[taken] == pattern[place] || result.data[taken] == '\0') << "at " << place;
      }
    }
    ASSERT_EQ(result.end->hash, HashOf(result, result.begin->metadata.size));
  }
  stop = true;
  writer.join();
  EXPECT_GE(raced, 10);
}

FANMIRROR_ON_ALL_FILESYSTEMS(ReaderData);

}  // namespace
}  // namespace fanmirror::read
