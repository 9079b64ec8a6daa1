#include "replicate/link_groups.h"

#include "gtest/gtest.h"

namespace fanmirror::replicate {
namespace {

model::FileId Id(char id) { return *model::FileId::FromHandle(1, std::string(8, id)); }

LinkGroups::Member Member(const std::string& path, char source, std::uint32_t source_links, std::uint64_t target,
                          std::uint32_t target_links) {
  return {{Id('r'), path}, path, Id(source), source_links, target, target_links};
}

std::string ConflictOf(LinkGroups* groups, const LinkGroups::Member& member) {
  const auto other = groups->Conflict(member);
  return other ? other->path : "";
}

TEST(LinkGroups, EqualGroupsHaveNoConflict) {
  LinkGroups groups;
  for (const char* path : {"a", "b", "c"}) EXPECT_EQ(ConflictOf(&groups, Member(path, 'x', 3, 7, 3)), "");
  EXPECT_EQ(ConflictOf(&groups, Member("d", 'y', 1, 8, 1)), "");
  EXPECT_EQ(groups.left_out(), 0u);
}

TEST(LinkGroups, ANameApartOnTheTarget) {
  LinkGroups groups;
  EXPECT_EQ(ConflictOf(&groups, Member("a", 'x', 3, 7, 2)), "");
  EXPECT_EQ(ConflictOf(&groups, Member("b", 'x', 3, 7, 2)), "");
  EXPECT_EQ(ConflictOf(&groups, Member("c", 'x', 3, 8, 1)), "a");
}

TEST(LinkGroups, NamesTogetherOnTheTargetOnly) {
  LinkGroups groups;
  EXPECT_EQ(ConflictOf(&groups, Member("a", 'x', 1, 7, 2)), "");
  EXPECT_EQ(ConflictOf(&groups, Member("b", 'y', 1, 7, 2)), "a");
}

TEST(LinkGroups, AGroupWhoseNamesHaveAllComeIsForgotten) {
  LinkGroups groups;
  EXPECT_EQ(ConflictOf(&groups, Member("a", 'x', 2, 7, 2)), "");
  EXPECT_EQ(ConflictOf(&groups, Member("b", 'x', 2, 7, 2)), "");
  EXPECT_EQ(ConflictOf(&groups, Member("c", 'x', 2, 9, 2)), "");  // made anew meanwhile
}

}  // namespace
}  // namespace fanmirror::replicate
