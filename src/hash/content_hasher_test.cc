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

}  // namespace
}  // namespace fanmirror::hash
