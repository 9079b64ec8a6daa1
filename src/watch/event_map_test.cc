#include "watch/event_map.h"

#include <sys/fanotify.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gtest/gtest.h"
#include "watch/testing/event_bytes.h"

namespace fanmirror::watch {
namespace {

// "name DIR/NAME", "node ID content @PLACE", ... so that a table can be read.
std::string Short(const model::FileId& id) { return std::string(id.bytes()); }

std::string ShortPlace(const EventPlace& place) {
  switch (place.kind) {
    case EventPlace::Kind::kNowhere:
      return "@nowhere";
    case EventPlace::Kind::kDirectory:
      return absl::StrCat("@", Short(place.dir));
    case EventPlace::Kind::kEntry:
      return absl::StrCat("@", Short(place.dir), "/", std::string(place.name), place.is_directory ? "/" : "");
  }
  return "?";
}

std::string ShortCandidate(const Candidate& candidate) {
  const char* content = candidate.content ? " content" : "";
  switch (candidate.kind) {
    case model::Change::Kind::kName:
      return absl::StrCat("name ", Short(candidate.id), "/", std::string(candidate.name), content, " ",
                          ShortPlace(candidate.place));
    case model::Change::Kind::kNode:
      return absl::StrCat("node ", Short(candidate.id), content, " ", ShortPlace(candidate.place),
                          candidate.origin.kind == EventPlace::Kind::kNowhere ? "" : " from ",
                          candidate.origin.kind == EventPlace::Kind::kNowhere ? "" : ShortPlace(candidate.origin));
    case model::Change::Kind::kTree:
      return absl::StrCat("tree ", Short(candidate.id), " ", ShortPlace(candidate.place), " from ",
                          ShortPlace(candidate.origin));
    case model::Change::Kind::kLimbo:
      break;
  }
  return "?";
}

std::string Mapped(const Event& event) {
  const Candidates candidates = MapEvent(event);
  std::vector<std::string> all;
  for (const Candidate& each : candidates.list()) all.push_back(ShortCandidate(each));
  if (candidates.untraceable()) all.emplace_back("untraceable");
  return absl::StrJoin(all, "; ");
}

TEST(MapEvent, OfOneEntry) {
  struct Case {
    std::uint64_t mask;
    std::string name;
    std::string expected;
  };
  const Case cases[] = {
      {FAN_CREATE, "n", "name dir/n @dir/n"},
      {FAN_CREATE | FAN_ONDIR, "n", "name dir/n @dir/n/"},
      {FAN_DELETE, "n", "name dir/n @dir/n"},
      {FAN_DELETE | FAN_ONDIR, "n", "name dir/n @dir/n/"},
      {FAN_MODIFY, "n", "node t content @dir/n"},
      {FAN_CLOSE_WRITE, "n", "node t content @dir/n"},
      {FAN_ATTRIB, "n", "node t @dir/n"},
      {FAN_ATTRIB | FAN_MODIFY, "n", "node t content @dir/n"},
      {FAN_CREATE | FAN_MODIFY | FAN_CLOSE_WRITE, "n", "name dir/n @dir/n; node t content @dir/n"},
      {FAN_CREATE | FAN_ATTRIB | FAN_DELETE, "n", "name dir/n @dir/n; node t @dir/n"},
      {FAN_MODIFY, "#12", "node t content @nowhere"},
      {FAN_ATTRIB, "#12", "node t @nowhere"},
      {FAN_CREATE, "#12", "name dir/#12 @dir/#12"},
      {FAN_MODIFY, "#foo#", "node t content @dir/#foo#"},
      {FAN_MODIFY, "#", "node t content @dir/#"},
      {FAN_ATTRIB | FAN_ONDIR, ".", "node dir @dir"},
      {FAN_Q_OVERFLOW, "n", ""},
      {FAN_FS_ERROR, "n", ""},
      {FAN_OPEN, "n", ""},
  };
  for (const Case& each : cases) {
    Event event;
    event.mask = each.mask;
    event.target = TestId("t");
    event.entry = {TestId("dir"), each.name};
    EXPECT_EQ(Mapped(event), each.expected) << std::hex << each.mask << ' ' << each.name;
  }
}

TEST(MapEvent, OfARename) {
  Event event;
  event.mask = FAN_RENAME;
  event.target = TestId("t");
  event.from = {TestId("old"), "a"};
  event.to = {TestId("new"), "b"};
  EXPECT_EQ(Mapped(event), "name old/a @old/a; name new/b @new/b; node t content @new/b from @old/a");
  event.mask |= FAN_ONDIR;
  EXPECT_EQ(Mapped(event), "name old/a @old/a/; name new/b @new/b/; tree t @new/b/ from @old/a/");
  event.from = {};
  EXPECT_EQ(Mapped(event), "name new/b @new/b/; tree t @new/b/ from @nowhere; untraceable");
}

TEST(MapEvent, OfANodeWithoutAPlace) {
  Event event;
  event.mask = FAN_ATTRIB;
  event.target = TestId("t");
  EXPECT_EQ(Mapped(event), "node t @nowhere");
}

TEST(MapEvent, OfAnEventThatTellsTooLittle) {
  Event event;
  event.mask = FAN_MODIFY;
  EXPECT_EQ(Mapped(event), "untraceable");
  event.mask = FAN_CREATE;
  EXPECT_EQ(Mapped(event), "untraceable");
  // The entry is enough to find the node.
  event.mask = FAN_MODIFY;
  event.entry = {TestId("dir"), "n"};
  EXPECT_EQ(Mapped(event), "name dir/n content @dir/n");
}

TEST(MapEvent, HoldsWhateverMaskAndRecordsComeTogether) {
  Event event;
  event.mask = ~std::uint64_t{0};
  event.target = TestId("t");
  event.entry = event.from = event.to = {TestId("dir"), "n"};
  EXPECT_EQ(MapEvent(event).list().size(), 5U);
}

}  // namespace
}  // namespace fanmirror::watch
