#include "replicate/doubts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fanmirror::replicate {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

TEST(DoubtsTest, TheFirstBatchCountsAndTheWiderQuestion) {
  Doubts doubts;
  EXPECT_EQ(doubts.first_batch(), 0U);
  doubts.Add(7, "a", false);
  doubts.Add(8, "a", true);
  doubts.Add(8, "a", false);
  doubts.Add(9, "b", false);
  EXPECT_EQ(doubts.first_batch(), 7U);
  EXPECT_THAT(doubts.places(), ElementsAre(Pair("a", true), Pair("b", false)));
  doubts.Clear();
  EXPECT_EQ(doubts.first_batch(), 0U);
  EXPECT_THAT(doubts.places(), IsEmpty());
}

TEST(DoubtsTest, WhatLiesInARenamedDirectoryGoesWithIt) {
  Doubts doubts;
  for (const char* place : {"a", "a/x", "a/x/y", "a-b/x", "ab", "c/z"}) doubts.Add(1, place, place[0] == 'c');
  doubts.Renamed("a", "d/e");
  doubts.Renamed("c", "d/e");
  EXPECT_THAT(doubts.places(), ElementsAre(Pair("a", false), Pair("a-b/x", false), Pair("ab", false), Pair("d/e", false),
                                           Pair("d/e/x", false), Pair("d/e/x/y", false), Pair("d/e/z", true)));
}

TEST(DoubtsTest, WhatLiesInExchangedDirectoriesChangesPlaces) {
  Doubts doubts;
  doubts.Add(1, "a", true);
  doubts.Add(1, "a/one", false);
  doubts.Add(1, "a/both", true);
  doubts.Add(1, "b/c/both", false);
  doubts.Exchanged("a", "b/c");
  EXPECT_THAT(doubts.places(), ElementsAre(Pair("a", true), Pair("a/both", false), Pair("b/c", true), Pair("b/c/both", true),
                                           Pair("b/c/one", false)));
}

}  // namespace
}  // namespace fanmirror::replicate
