// The target is away: peers that vanish, and our own state without room.
#include <sys/stat.h>

#include "absl/strings/str_cat.h"
#include "replicate/testing/mirror_fixture.h"

namespace fanmirror::replicate {
namespace {

using ::testing::HasSubstr;

class AwayTest : public testing::MirrorTest {
 protected:
  Options Impatient() {
    Options options = MakeOptions();
    options.timeout = absl::Milliseconds(400);
    return options;
  }
};

INSTANTIATE_TEST_SUITE_P(On, AwayTest, ::testing::Values("tmpfs"), [](const auto& instance) { return instance.param; });

TEST_P(AwayTest, AReceiverThatVanishesSilentlyIsNoticedAndTheRestIsSent) {
  life_ = [this] { return connects_ == 1 ? testing::LinkLife{.read = 500, .vanishes = true} : testing::LinkLife{}; };
  Start(Impatient());
  for (int i = 0; i < 200; ++i) Write(absl::StrCat("file", i), "text");
  EXPECT_TRUE(Await([&] { return connects_ >= 2; })) << Situation();
  EXPECT_THAT(Situation(), HasSubstr("was silent for 400ms"));
  ExpectMirrored();
}

TEST_P(AwayTest, AnIdleConnectionStands) {
  Start(Impatient());
  Write("file", "text");
  ExpectMirrored();
  absl::SleepFor(absl::Seconds(2));  // several times the timeout
  Write("other", "text");
  ExpectMirrored();
  EXPECT_EQ(connects_, 1) << Situation();
}

}  // namespace
}  // namespace fanmirror::replicate
