#include "watch/event.h"

#include <sys/fanotify.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "watch/testing/event_bytes.h"

namespace fanmirror::watch {
namespace {

using namespace std::string_literals;

struct Parsed {
  bool whole = false;
  std::size_t events = 0;
  Event last;
};

Parsed Parse(std::string_view buffer) {
  Parsed parsed;
  parsed.whole = ParseEvents(buffer, [&](const Event& event) {
    ++parsed.events;
    parsed.last = event;
  });
  return parsed;
}

TEST(ParseEvents, ReadsEveryRecord) {
  const std::string buffer = EventBytes(FAN_RENAME, 77,
                                        {EntryRecord(FAN_EVENT_INFO_TYPE_OLD_DFID_NAME, "olddir", "from"),
                                         EntryRecord(FAN_EVENT_INFO_TYPE_NEW_DFID_NAME, "newdir", "to"),
                                         HandleRecord(FAN_EVENT_INFO_TYPE_FID, "target")});
  const Parsed parsed = Parse(buffer);
  ASSERT_TRUE(parsed.whole);
  ASSERT_EQ(parsed.events, 1U);
  EXPECT_EQ(parsed.last.mask, FAN_RENAME);
  EXPECT_EQ(parsed.last.pid, 77);
  EXPECT_EQ(parsed.last.from.dir, TestId("olddir"));
  EXPECT_EQ(parsed.last.from.name, "from");
  EXPECT_EQ(parsed.last.to.dir, TestId("newdir"));
  EXPECT_EQ(parsed.last.to.name, "to");
  EXPECT_EQ(parsed.last.target, TestId("target"));
  EXPECT_TRUE(parsed.last.entry.dir.empty());
}

TEST(ParseEvents, ReadsTheEntryAndUnknownRecords) {
  const std::string buffer =
      EventBytes(FAN_CREATE, 1,
                 {HandleRecord(200, "newer"), EntryRecord(FAN_EVENT_INFO_TYPE_DFID_NAME, "dir", "n\n")}) +
      EventBytes(FAN_ATTRIB, 2, {HandleRecord(FAN_EVENT_INFO_TYPE_DFID, "alone")});
  std::vector<std::string> entries;
  ASSERT_TRUE(ParseEvents(buffer, [&](const Event& event) {
    entries.push_back(event.entry.dir.ToString() + std::string(event.entry.name));
  }));
  EXPECT_EQ(entries,
            (std::vector<std::string>{TestId("dir").ToString() + "n\n", TestId("alone").ToString() + "."}));
}

TEST(ParseEvents, AnEmptyBufferHoldsNothing) { EXPECT_TRUE(Parse("").whole); }

TEST(ParseEvents, AHandleThatIsNoIdIsLeftOut) {
  const std::string large(model::FileId::kMaxHandleBytes + 1, 'h');
  for (const std::string& record :
       {HandleRecord(FAN_EVENT_INFO_TYPE_FID, large), HandleRecord(FAN_EVENT_INFO_TYPE_FID, "", 0xff)}) {
    const Parsed parsed = Parse(EventBytes(FAN_MODIFY, 1, {record}));
    EXPECT_TRUE(parsed.whole);
    EXPECT_TRUE(parsed.last.target.empty());
  }
}

TEST(ParseEvents, RefusesEveryTruncation) {
  const std::string first = EventBytes(FAN_CREATE, 1,
                                       {EntryRecord(FAN_EVENT_INFO_TYPE_DFID_NAME, "dir", "name"),
                                        HandleRecord(FAN_EVENT_INFO_TYPE_FID, "target")});
  const std::string buffer = first + first;
  for (std::size_t size = 1; size < buffer.size(); ++size) {
    // In memory of just this size, so that a sanitizer sees a read beyond it.
    const std::vector<char> exact(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(size));
    const Parsed parsed = Parse({exact.data(), exact.size()});
    EXPECT_EQ(parsed.whole, size == first.size()) << size;
    EXPECT_EQ(parsed.events, size / first.size()) << size;
  }
}

TEST(ParseEvents, RefusesWhatNoKernelGives) {
  const std::string good =
      EventBytes(FAN_CREATE, 1, {EntryRecord(FAN_EVENT_INFO_TYPE_DFID_NAME, "dir", "name")});
  ASSERT_TRUE(Parse(good).whole);
  struct Case {
    const char* what;
    std::size_t offset;
    std::string bytes;
  };
  const Case cases[] = {
      {"an event longer than the buffer", 0, "\xff\xff\x00\x00"s},
      {"an event shorter than its head", 0, "\x08\x00\x00\x00"s},
      {"another version", 4, "\x02"s},
      {"a head longer than the event", 6, "\xff\x00"s},
      {"a head that is too short", 6, "\x08\x00"s},
      {"a record without length", 26, "\x00\x00"s},
      {"a record shorter than its head", 26, "\x03\x00"s},
      {"a record longer than the event", 26, "\xff\x00"s},
      {"a handle longer than its record", 36, "\xff\xff\xff\xff"s},
      {"a handle up to the record's end", 36, "\x0a\x00\x00\x00"s},
      {"an empty name", 47, "\x00"s},
      {"a name that is a path", 48, "/"s},
  };
  for (const Case& each : cases) {
    std::string bad = good;
    bad.replace(each.offset, each.bytes.size(), each.bytes);
    const Parsed parsed = Parse(bad);
    EXPECT_FALSE(parsed.whole) << each.what;
    EXPECT_EQ(parsed.events, 0U) << each.what;
  }
  // A name without its end.
  std::string endless = good;
  for (std::size_t i = 47; i < endless.size(); ++i) endless[i] = 'x';
  EXPECT_FALSE(Parse(endless).whole);
}

TEST(ParseEvents, SurvivesAnyBytes) {
  const std::string good = EventBytes(FAN_CREATE, 1,
                                      {EntryRecord(FAN_EVENT_INFO_TYPE_DFID_NAME, "dir", "name"),
                                       HandleRecord(FAN_EVENT_INFO_TYPE_FID, "target")});
  std::mt19937 random(1);  // NOLINT: the same bytes in every run
  for (int round = 0; round < 20'000; ++round) {
    std::vector<char> bytes(good.begin(), good.end());
    for (int flip = 0; flip < 4; ++flip) bytes[random() % bytes.size()] = static_cast<char>(random());
    Parse({bytes.data(), bytes.size()});
  }
}

}  // namespace
}  // namespace fanmirror::watch
