#include "model/file_id.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "absl/hash/hash_testing.h"

namespace fanmirror::model {
namespace {

TEST(FileId, ComesBackFromItsEncoding) {
  const std::string handle("\x01\x00\xff'\n7890", 9);
  for (const FileId& id : {*FileId::FromHandle(1, handle), *FileId::FromHandle(0xfc, ""),
                           *FileId::FromHandle(0x81, std::string(FileId::kMaxHandleBytes, '\xff')),
                           FileId::Limbo(), FileId::Foreign(0), FileId::Foreign(~std::uint64_t{0})}) {
    const std::string encoded = id.Encode() + "rest";
    std::string_view in = encoded;
    const auto back = FileId::Consume(&in);
    ASSERT_TRUE(back.has_value()) << id.ToString();
    EXPECT_EQ(*back, id);
    EXPECT_EQ(in, "rest");
  }
}

TEST(FileId, TakesOnlyKernelHandlesThatFit) {
  EXPECT_TRUE(FileId::FromHandle(1, std::string(FileId::kMaxHandleBytes, 'x')));
  EXPECT_FALSE(FileId::FromHandle(1, std::string(FileId::kMaxHandleBytes + 1, 'x')));
  for (const int type : {-1, 0, 0xfd, 0xfe, 0xff, 0x100, 0x101})
    EXPECT_FALSE(FileId::FromHandle(type, "x")) << type;
}

TEST(FileId, KindsAreDistinct) {
  EXPECT_TRUE(FileId().empty());
  EXPECT_TRUE(FileId::Limbo().is_limbo());
  EXPECT_FALSE(FileId::Limbo().is_foreign());
  EXPECT_TRUE(FileId::Foreign(7).is_foreign());
  EXPECT_NE(FileId::Foreign(7), FileId::Foreign(8));
  EXPECT_NE(*FileId::FromHandle(1, "ab"), *FileId::FromHandle(2, "ab"));
  EXPECT_NE(*FileId::FromHandle(1, std::string("a\0", 2)), *FileId::FromHandle(1, "a"));
  EXPECT_EQ(FileId::FromHandle(2, "\x0f\xa0")->ToString(), "2:0fa0");
}

TEST(FileId, EqualIdsHashEqually) {
  EXPECT_TRUE(absl::VerifyTypeImplementsAbslHashCorrectly(
      {FileId(), FileId::Limbo(), FileId::Foreign(0), FileId::Foreign(1), *FileId::FromHandle(1, "a"),
       *FileId::FromHandle(1, std::string("a\0", 2)), *FileId::FromHandle(2, "a")}));
}

TEST(FileIdConsume, LeavesWhatIsNoIdUntouched) {
  const std::string too_long = std::string("\x01\x27", 2) + std::string(39, 'x');
  for (const std::string& bytes :
       {std::string(), std::string("\x01", 1), std::string("\x01\x02x", 3), std::string("\x00\x00", 2),
        std::string("\xff\x00", 2), too_long, std::string("\x01\xff", 2) + std::string(255, 'x')}) {
    std::string_view in = bytes;
    EXPECT_FALSE(FileId::Consume(&in).has_value());
    EXPECT_EQ(in, bytes);
  }
}

TEST(FileIdConsume, WhatItTakesOfGarbageEncodesToTheSameBytes) {
  std::mt19937 random(20261123);
  int taken = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes(random() % 48, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random() % (random() % 2 ? 256 : 8));
    std::string_view in = bytes;
    const auto id = FileId::Consume(&in);
    if (!id) {
      ASSERT_EQ(in, bytes);
      continue;
    }
    ++taken;
    ASSERT_EQ(id->Encode(), bytes.substr(0, bytes.size() - in.size()));
  }
  EXPECT_GT(taken, 1'000);
}

}  // namespace
}  // namespace fanmirror::model
