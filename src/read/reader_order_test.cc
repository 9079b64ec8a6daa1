#include <dirent.h>
#include <signal.h>

#include <algorithm>
#include <fstream>
#include <random>

#include "model/failure.h"
#include "read/pieces.h"
#include "read/reader_fixture.h"

namespace fanmirror::read {
namespace {

class ReaderOrder : public ReaderTest {
 protected:
  // Files numbered by their owner, so that what the reader gives can be told apart.
  void WriteNumbered(unsigned number, std::string_view content) {
    const std::string name = absl::StrCat(number);
    Write(name, content);
    ASSERT_EQ(::lchown(At(name).c_str(), number, 0), 0);
  }
};

std::size_t OpenDescriptors() {
  std::size_t count = 0;
  DIR* directory = ::opendir("/proc/self/fd");
  while (::readdir(directory) != nullptr) ++count;
  ::closedir(directory);
  return count;
}

std::size_t ResidentBytes() {
  std::size_t total = 0;
  std::size_t resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * static_cast<std::size_t>(::getpagesize());
}

TEST_P(ReaderOrder, PartsComeInTheOrderOfSubmission) {
  constexpr unsigned kFiles = 400;
  std::mt19937 random(11);
  for (unsigned i = 0; i < kFiles; ++i) {
    WriteNumbered(i, Pattern(i, i % 50 == 7 ? 5 * kPieceBytes + i : random() % 9000));
  }
  Sync();
  // Cold and warm ones in turns: those behind are often read before those in front.
  for (unsigned i = 0; i < kFiles; ++i) {
    if (random() % 2 == 0) Evict(absl::StrCat(i));
  }
  unsigned submitted = 0;
  for (unsigned i = 0; i < kFiles; ++i) {
    while (submitted < kFiles && reader()->Accepts()) {
      reader()->Submit({.id = Id(absl::StrCat(submitted)), .content = submitted % 5 != 0});
      ++submitted;
    }
    const Result result = TakeResult(reader());
    ASSERT_TRUE(result.end.has_value()) << result.failure;
    ASSERT_EQ(result.begin->metadata.uid, i);
    const std::string expected = i % 5 != 0 ? Pattern(i, result.begin->metadata.size) : "";
    ASSERT_TRUE(result.data == expected) << i;
  }
  EXPECT_TRUE(reader()->Idle());
}

#ifdef __SANITIZE_THREAD__
constexpr std::size_t kResidentPerByte = 5;  // the sanitizer keeps four for each
#elif defined(__SANITIZE_ADDRESS__)
constexpr std::size_t kResidentPerByte = 12;  // and this one holds up to 256 MiB of freed memory back
#else
constexpr std::size_t kResidentPerByte = 1;
#endif

TEST_P(ReaderOrder, MemoryAndDescriptorsAreBounded) {
  constexpr unsigned kFiles = 80;
  const auto size_of = [](unsigned i) { return i == 0 ? std::size_t{64} << 20 : std::size_t{1} << 20; };
  for (unsigned i = 0; i < kFiles; ++i) {
    WriteNumbered(i, std::string(size_of(i), static_cast<char>('0' + i)));
  }
  Sync();
  for (unsigned i = 0; i < kFiles; ++i) Evict(absl::StrCat(i));
  const std::size_t resident = ResidentBytes();
  const std::size_t descriptors = OpenDescriptors();
  unsigned submitted = 0;
  std::size_t most_descriptors = 0;
  std::size_t most_resident = 0;
  std::size_t bytes = 0;
  while (submitted < kFiles || !reader()->Idle()) {
    unsigned under_way = 0;
    for (; submitted < kFiles && reader()->Accepts(); ++submitted, ++under_way) {
      reader()->Submit({.id = Id(absl::StrCat(submitted)), .content = true});
    }
    ASSERT_LE(under_way, 64u);
    const Part part = reader()->Next();
    if (const auto* data = std::get_if<Data>(&part)) bytes += data->bytes.size();
    most_descriptors = std::max(most_descriptors, OpenDescriptors());
    most_resident = std::max(most_resident, ResidentBytes());
  }
  EXPECT_EQ(bytes, size_of(0) + (kFiles - 1) * size_of(1));
  EXPECT_LE(most_descriptors, descriptors + 64);
  // 18 MiB of pieces, and what the allocator and a sanitizer add.
  EXPECT_LT(most_resident, resident + kResidentPerByte * (28u << 20));
  EXPECT_EQ(OpenDescriptors(), descriptors);
}

TEST_P(ReaderOrder, MayBeDestroyedAtAnyMoment) {
  for (unsigned i = 0; i < 40; ++i) {
    WriteNumbered(i, std::string(1 << 20, 'x'));
    Evict(absl::StrCat(i));
    reader()->Submit({.id = Id(absl::StrCat(i)), .content = true, .check_content = i % 3 == 0});
  }
  ASSERT_TRUE(std::holds_alternative<Begin>(reader()->Next()));
  const std::size_t descriptors = OpenDescriptors();
  CloseReader();
  EXPECT_LT(OpenDescriptors(), descriptors);
}

// To wait for the holder of a lease could take 45 seconds.
TEST_P(ReaderOrder, ALeaseHoldsUpNobody) {
  Write("leased", "content");
  Write("other", "content");
  struct sigaction ignore {};
  struct sigaction before {};
  ignore.sa_handler = SIG_IGN;
  ASSERT_EQ(::sigaction(SIGIO, &ignore, &before), 0);
  os::UniqueFd holder = Create("leased");
  ASSERT_EQ(::fcntl(holder.get(), F_SETLEASE, F_WRLCK), 0) << std::strerror(errno);
  reader()->Submit({.id = Id("leased"), .content = true});
  reader()->Submit({.id = Id("other"), .content = true});
  const Result leased = TakeResult(reader());
  EXPECT_EQ(model::ErrnoOf(leased.failure), EAGAIN) << leased.failure;
  EXPECT_EQ(model::ReactionOf(leased.failure), model::Reaction::kRetry);
  EXPECT_EQ(TakeResult(reader()).data, "content");
  holder.reset();
  EXPECT_EQ(ReadContent("leased").data, "content");
  ::sigaction(SIGIO, &before, nullptr);
}

TEST_P(ReaderOrder, EqualContentIsNotGiven) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{5000}, 6 * kPieceBytes + 1}) {
    SCOPED_TRACE(size);
    Write("f", Pattern(0, size));
    const model::ContentHash hash = ReadContent("f").end->hash;
    const Result result = Read({.id = Id("f"), .content = true, .check_content = true, .known_hash = hash});
    ASSERT_TRUE(result.end.has_value()) << result.failure;
    EXPECT_TRUE(result.begin->unchanged);
    EXPECT_EQ(result.pieces, 0u);
    EXPECT_EQ(result.end->hash, hash);
    EXPECT_EQ(result.begin->metadata, Stat("f"));
  }
}

TEST_P(ReaderOrder, OtherContentIsGivenAfterTheComparison) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{5000}, kPieceBytes, 6 * kPieceBytes + 1}) {
    SCOPED_TRACE(size);
    Write("f", Pattern(0, size));
    const model::ContentHash hash = ReadContent("f").end->hash;
    const Result result = Read({.id = Id("f"), .content = true, .check_content = true, .known_hash = {1, 2}});
    ASSERT_TRUE(result.end.has_value()) << result.failure;
    EXPECT_FALSE(result.begin->unchanged);
    EXPECT_TRUE(result.data == Pattern(0, size));
    EXPECT_EQ(result.end->hash, hash);
    EXPECT_FALSE(result.end->raced);
    EXPECT_EQ(result.begin->metadata, Stat("f"));
  }
}

TEST_P(ReaderOrder, ComparesSeveralFromTheDisk) {
  constexpr unsigned kFiles = 80;
  std::vector<model::ContentHash> hashes;
  for (unsigned i = 0; i < kFiles; ++i) {
    WriteNumbered(i, Pattern(i, i % 7 * 100'000));
    hashes.push_back(ReadContent(absl::StrCat(i)).end->hash);
  }
  Sync();
  for (unsigned i = 0; i < kFiles; ++i) Evict(absl::StrCat(i));
  unsigned submitted = 0;
  for (unsigned i = 0; i < kFiles; ++i) {
    for (; submitted < kFiles && reader()->Accepts(); ++submitted) {
      const model::ContentHash known =
          submitted % 2 == 0 ? hashes[submitted] : model::ContentHash{1, submitted};
      reader()->Submit(
          {.id = Id(absl::StrCat(submitted)), .content = true, .check_content = true, .known_hash = known});
    }
    const Result result = TakeResult(reader());
    ASSERT_TRUE(result.end.has_value()) << result.failure;
    EXPECT_EQ(result.begin->metadata.uid, i);
    EXPECT_EQ(result.begin->unchanged, i % 2 == 0);
    EXPECT_EQ(result.end->hash, hashes[i]);
    EXPECT_TRUE(result.data == (i % 2 == 0 ? "" : Pattern(i, i % 7 * 100'000)));
  }
}

FANMIRROR_ON_ALL_FILESYSTEMS(ReaderOrder);

// The disk fails under the file: what it holds cannot be read any more.
class ReaderFailure : public ::testing::TestWithParam<os::Ring::Kind>, public SourceTest {};

TEST_P(ReaderFailure, IsOfThatFileOnly) {
  if (!os::testing::IsRoot()) GTEST_SKIP() << "mounts need root";
  auto filesystem = os::testing::ScopedFilesystem::Create("ext4");
  ASSERT_TRUE(filesystem.ok()) << filesystem.status();
  Open((*filesystem)->path(), GetParam());
  Write("cached", "content");
  Write("lost", std::string(4 << 20, 'x'));
  Evict("lost");
  // The loop device answers with an I/O error to what lies beyond the end of its image.
  ASSERT_EQ(::truncate((*filesystem)->image().c_str(), 0), 0);
  reader()->Submit({.id = Id("lost"), .content = true});
  reader()->Submit({.id = Id("cached"), .content = true});
  const Result lost = TakeResult(reader());
  ASSERT_FALSE(lost.failure.ok());
  EXPECT_EQ(model::ReactionOf(lost.failure), model::Reaction::kRetry);
  EXPECT_EQ(model::ErrnoOf(lost.failure), EIO);
  EXPECT_NE(lost.failure.message().find("'lost'"), std::string::npos) << lost.failure;
  EXPECT_EQ(TakeResult(reader()).data, "content");
  CloseReader();
}

INSTANTIATE_TEST_SUITE_P(Kinds, ReaderFailure,
                         ::testing::Values(os::Ring::Kind::kBest, os::Ring::Kind::kThreads));

}  // namespace
}  // namespace fanmirror::read
