#include "watch/kept_buffer.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "watch/testing/event_bytes.h"

namespace fanmirror::watch {
namespace {

using ::testing::HasSubstr;

const KeptBuffer::Identity kIdentity = {0x1e03, 0x30f, "a boot", "a filesystem", "fanotify sdev:1 mask:2\n"};

class KeptBufferTest : public ::testing::Test {
 protected:
  static KeptBuffer Make() {
    auto made = KeptBuffer::Create(kIdentity);
    EXPECT_TRUE(made.ok()) << made.status();
    return *std::move(made);
  }
  static absl::StatusOr<KeptBuffer> Again(const KeptBuffer& buffer) { return KeptBuffer::Map(Duplicate(buffer.fd())); }
  static os::UniqueFd Duplicate(int fd) { return os::UniqueFd(fcntl(fd, F_DUPFD_CLOEXEC, 0)); }
  static void Fill(const KeptBuffer& buffer, const std::string& events) {
    ASSERT_LE(events.size(), buffer.region().size());
    events.copy(buffer.region().data(), events.size());
  }
  static std::string Event(const std::string& name) {
    return EventBytes(FAN_CREATE, 1, {EntryRecord(FAN_EVENT_INFO_TYPE_DFID_NAME, "directory", name)});
  }
  static std::string WhyNot(const absl::Status& status) { return std::string(status.message()); }
};

TEST_F(KeptBufferTest, IsWhatItWasForWhoeverMapsItNext) {
  const KeptBuffer buffer = Make();
  EXPECT_EQ(buffer.identity(), kIdentity);
  const auto again = Again(buffer);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->identity(), kIdentity);
  ASSERT_TRUE(again->Undispatched().ok());
  EXPECT_EQ(*again->Undispatched(), "");
  EXPECT_NE(fcntl(buffer.fd(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST_F(KeptBufferTest, EventsStayUntilTheyAreCleared) {
  KeptBuffer buffer = Make();
  const std::string events = Event("one") + Event("two");
  Fill(buffer, events);
  EXPECT_EQ(*Again(buffer)->Undispatched(), events);
  buffer.Clear(events.size());
  EXPECT_EQ(*Again(buffer)->Undispatched(), "");
  const absl::Span<char> region = buffer.region();
  EXPECT_EQ(std::string_view(region.data(), region.size()).find_first_not_of('\0'), std::string_view::npos);
}

TEST_F(KeptBufferTest, ARegionThatIsFullToTheEndIsRead) {
  const KeptBuffer buffer = Make();
  std::string events;
  const std::string one = Event("name");
  while (events.size() + one.size() <= KeptBuffer::kRegionBytes) events += one;
  Fill(buffer, events);
  EXPECT_EQ(*Again(buffer)->Undispatched(), events);
}

TEST_F(KeptBufferTest, ATornEventIsNotBelieved) {
  const KeptBuffer buffer = Make();
  const std::string torn = Event("two").substr(0, 30);
  Fill(buffer, Event("one") + torn);
  EXPECT_THAT(WhyNot(Again(buffer)->Undispatched().status()), HasSubstr("an event is torn"));
  Fill(buffer, Bytes(std::uint32_t{1U << 30}));
  EXPECT_THAT(WhyNot(Again(buffer)->Undispatched().status()), HasSubstr("an event is longer than the buffer"));
}

TEST_F(KeptBufferTest, OnlyASealedBufferOfThisFormatIsOne) {
  const auto map = [](os::UniqueFd fd) { return KeptBuffer::Map(std::move(fd)).status(); };
  EXPECT_THAT(WhyNot(map(os::UniqueFd(memfd_create("other", MFD_CLOEXEC)))), HasSubstr("of something else"));
  EXPECT_THAT(WhyNot(map(os::UniqueFd(open("/dev/null", O_RDWR | O_CLOEXEC)))), HasSubstr("of something else"));
  const KeptBuffer buffer = Make();
  // The format follows the magic.
  const auto write_at = [&](off_t offset, const std::string& bytes) {
    ASSERT_EQ(pwrite(buffer.fd(), bytes.data(), bytes.size(), offset), static_cast<ssize_t>(bytes.size()));
  };
  write_at(8, Bytes(std::uint32_t{99}));
  EXPECT_THAT(WhyNot(map(Duplicate(buffer.fd()))), HasSubstr("of another version"));
  write_at(0, std::string(8, '\0'));
  EXPECT_THAT(WhyNot(map(Duplicate(buffer.fd()))), HasSubstr("never complete"));
}

TEST_F(KeptBufferTest, AnIdentityThatDoesNotFitMakesABufferThatIsNotBelieved) {
  const auto made = KeptBuffer::Create({1, 2, "boot", std::string(5000, 'f'), "mark"});
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_FALSE(Again(*made).ok());
}

TEST_F(KeptBufferTest, TokensComeAndGo) {
  KeptBuffer buffer = Make();
  ASSERT_TRUE(buffer.locked());
  for (std::uint64_t token = 1; token <= KeptBuffer::kMaxTokens + 1; ++token) buffer.SetComplete(token);
  EXPECT_TRUE(buffer.IsComplete(KeptBuffer::kMaxTokens));
  EXPECT_FALSE(buffer.IsComplete(KeptBuffer::kMaxTokens + 1)) << "there is no room for it";
  buffer.SetIncomplete(7);
  EXPECT_FALSE(buffer.IsComplete(7));
  buffer.SetComplete(8);  // is there already
  buffer.SetComplete(1000);
  EXPECT_TRUE(buffer.IsComplete(1000));
  auto next = Again(buffer);
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_TRUE(next->IsComplete(1000));
  next->SetOthersIncomplete({2, 1000});
  EXPECT_TRUE(buffer.IsComplete(2));
  EXPECT_TRUE(buffer.IsComplete(1000));
  EXPECT_FALSE(buffer.IsComplete(3));
}

}  // namespace
}  // namespace fanmirror::watch
