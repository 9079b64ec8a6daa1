#include "hash/content_hasher.h"

#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace fanmirror::hash {
namespace {

using Pieces = std::vector<std::pair<std::uint64_t, std::string>>;

model::ContentHash HashOf(const Pieces& pieces, std::uint64_t size) {
  ContentHasher hasher;
  for (const auto& [offset, bytes] : pieces) hasher.Add(offset, bytes);
  return hasher.Finish(size);
}

TEST(ContentHasher, DoesNotDependOnThePieces) {
  std::string content(100'000, '\0');
  std::mt19937 random(3);
  for (char& byte : content) byte = static_cast<char>(random());
  const model::ContentHash whole = HashOf({{0, content}}, content.size());
  for (int round = 0; round < 50; ++round) {
    ContentHasher hasher;
    for (std::size_t at = 0; at < content.size();) {
      const std::size_t length = std::min<std::size_t>(content.size() - at, 1 + random() % 9000);
      hasher.Add(at, {content.data() + at, length});
      at += length;
    }
    EXPECT_EQ(hasher.Finish(content.size()), whole);
  }
}

TEST(ContentHasher, TellsApartWhatDiffers) {
  const std::vector<model::ContentHash> hashes = {
      HashOf({}, 0),
      HashOf({}, 1),
      HashOf({}, 4096),
      HashOf({{0, "abcd"}}, 4),
      HashOf({{0, "abcd"}}, 5),
      HashOf({{1, "abcd"}}, 5),
      HashOf({{0, "ab"}, {4, "cd"}}, 6),
      HashOf({{0, "abcd"}}, 6),
      HashOf({{0, "a"}, {4, "bcd"}}, 7),
      HashOf({{0, "abcd"}, {4096, "e"}}, 4097),
      HashOf({{0, "abcd"}, {4095, "e"}}, 4097),
  };
  for (std::size_t i = 0; i < hashes.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) EXPECT_NE(hashes[i], hashes[j]) << i << " and " << j;
  }
}

// What is on disk and on the wire stays what it is: "abc" at 0 and "d" at 4096 of a file of 8192 bytes.
TEST(ContentHasher, FollowsTheGrammar) {
  using namespace std::string_literals;
  const std::string stream =
      "abc\0\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0"
      "d\0\x10\0\0\0\0\0\0\1\0\0\0\0\0\0\0"
      "\0\x20\0\0\0\0\0\0"s;
  const XXH128_hash_t expected = XXH3_128bits(stream.data(), stream.size());
  const model::ContentHash hash = HashOf({{0, "abc"}, {4096, "d"}}, 8192);
  EXPECT_EQ(hash.low, expected.low64);
  EXPECT_EQ(hash.high, expected.high64);
}

TEST(ContentHasher, StartsAnewAfterReset) {
  ContentHasher hasher;
  hasher.Add(10, {"left", 4});
  hasher.Reset();
  hasher.Add(0, {"abcd", 4});
  EXPECT_EQ(hasher.Finish(4), HashOf({{0, "abcd"}}, 4));
}

model::ContentHash SparseHashOf(const Pieces& pieces, std::uint64_t size) {
  SparseHasher hasher;
  for (const auto& [offset, bytes] : pieces) hasher.Add(offset, bytes);
  return hasher.Finish(size);
}

TEST(SparseHasher, AllocatedZerosAreHoles) {
  const std::string data(1024, 'd');
  const std::string zeros(5000, '\0');
  const model::ContentHash sparse = SparseHashOf({{4096, data}}, 10'000);
  EXPECT_EQ(sparse, SparseHashOf({{0, std::string(4096, '\0') + data + zeros}}, 10'000));
  EXPECT_EQ(sparse, SparseHashOf({{512, std::string(512, '\0')}, {4096, data}, {8192, std::string(1808, '\0')}}, 10'000));
  EXPECT_EQ(SparseHashOf({{0, zeros}}, 5000), SparseHashOf({}, 5000));
}

TEST(SparseHasher, DoesNotDependOnThePieces) {
  std::string content(8192, '\0');
  for (const std::size_t at : {3, 600, 5000, 8191}) content[at] = 'x';
  const model::ContentHash whole = SparseHashOf({{0, content}}, content.size());
  EXPECT_EQ(whole, SparseHashOf({{0, content.substr(0, 512)}, {512, content.substr(512)}}, content.size()));
  EXPECT_EQ(whole, SparseHashOf({{0, content.substr(0, 1024)}, {4608, content.substr(4608)}}, content.size()));
}

TEST(SparseHasher, TellsApartWhatDiffers) {
  const std::string cell(512, 'a');
  const std::string end("\0\0\0b", 4);
  const std::vector<model::ContentHash> hashes = {
      SparseHashOf({}, 0),
      SparseHashOf({}, 512),
      SparseHashOf({{0, cell}}, 512),
      SparseHashOf({{0, cell}}, 1024),
      SparseHashOf({{512, cell}}, 1024),
      SparseHashOf({{512, end}}, 516),
      SparseHashOf({{0, cell + end}}, 516),
  };
  for (std::size_t i = 0; i < hashes.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) EXPECT_NE(hashes[i], hashes[j]) << i << " and " << j;
  }
}

TEST(DigestOf, XattrsAreToldApart) {
  using Xattrs = std::vector<model::Xattr>;
  const auto digest = [](const Xattrs& xattrs) { return DigestOf(absl::MakeConstSpan(xattrs)); };
  EXPECT_EQ(digest({{"user.a", "1"}}), digest({{"security.selinux", "x"}, {"user.a", "1"}}));
  EXPECT_NE(digest({{"user.a", "1"}}), digest({{"user.a", "2"}}));
  EXPECT_NE(digest({{"user.a", "1"}}), digest({{"user.a", ""}, {"user.b", "1"}}));
  EXPECT_NE(digest({}), digest({{"user.a", ""}}));
}

}  // namespace
}  // namespace fanmirror::hash
