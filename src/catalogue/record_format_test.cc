#include "catalogue/record_format.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <string>
#include <vector>

namespace fanmirror::catalogue {
namespace {

template <typename Inode>
model::FileId Handle(int type, Inode inode, const std::vector<std::uint32_t>& rest) {
  std::string bytes(sizeof inode, '\0');
  std::memcpy(bytes.data(), &inode, sizeof inode);
  for (const std::uint32_t word : rest) bytes.append(reinterpret_cast<const char*>(&word), sizeof word);
  return model::FileId::FromHandle(type, bytes).value();
}

// A scan looks nodes up in the order of their inodes.
TEST(NodeKeys, OfAFilesystemAreInTheOrderOfItsInodes) {
  std::vector<std::vector<model::FileId>> filesystems(3);
  for (const std::uint64_t inode :
       {2ull, 255ull, 256ull, 300ull, 65'535ull, 65'536ull, 16'777'217ull, 4'294'967'295ull}) {
    filesystems[0].push_back(
        Handle(1, static_cast<std::uint32_t>(inode),
               {9'000'000u - 7u * static_cast<std::uint32_t>(inode % 1000)}));  // ext4, xfs
    filesystems[1].push_back(
        Handle(0x81, inode << 8, {static_cast<std::uint32_t>(1000 - inode % 1000)}));  // xfs, inode64
    filesystems[2].push_back(
        Handle(0x4d, inode << 16, {5, 0, static_cast<std::uint32_t>(inode % 7)}));  // btrfs
  }
  for (const auto& ids : filesystems) {
    for (std::size_t i = 1; i < ids.size(); ++i)
      EXPECT_LT(NodeKey(ids[i - 1]), NodeKey(ids[i])) << ids[i].ToString();
  }
}

TEST(NodeKeys, AreDifferentForDifferentNodes) {
  std::set<std::string> keys;
  std::size_t ids = 0;
  for (std::size_t size = 1; size <= 20; ++size) {
    for (std::size_t at = 0; at < size; ++at) {
      std::string bytes(size, 'a');
      bytes[at] = 'b';
      keys.insert(NodeKey(model::FileId::FromHandle(1, bytes).value()));
      ++ids;
    }
  }
  EXPECT_EQ(keys.size(), ids);
}

}  // namespace
}  // namespace fanmirror::catalogue
