#include "replicate/auditor.h"

#include <fcntl.h>

#include <fstream>

#include "os/clock.h"
#include "replicate/testing/mirror_fixture.h"

namespace fanmirror::replicate {
namespace {

using ::testing::IsEmpty;

class AuditorTest : public testing::MirrorTest {
 protected:
  Options MakeOptions() override {
    Options options = MirrorTest::MakeOptions();
    options.audit = audit_;
    return options;
  }
  // In the end, without anybody having told.
  void ExpectFound() {
    EXPECT_TRUE(Await([&] { return testing::Differences(At("source"), At("target")).empty(); })) << Situation();
  }
  // Audits that began after this call were through.
  void AwaitAudits(std::uint64_t count) {
    const std::uint64_t before = replicator_->progress().audits;
    AwaitProgress([&](const Progress& now) { return now.audits > before + count; });
  }

  absl::Duration audit_ = absl::Milliseconds(1);  // one after the other
};

INSTANTIATE_TEST_SUITE_P(On, AuditorTest, ::testing::Values("tmpfs", "ext4"),
                         [](const auto& instance) { return instance.param; });

TEST_P(AuditorTest, FindsWhatNoEventTold) {
  MakeDir("dir");
  Write("dir/file", "text");
  Write("dir/gone", "text");
  Write("dir/moved", "text");
  Start();
  ExpectMirrored();
  WriteFile("source/dir/file", "more text");
  ASSERT_EQ(::unlink(At("source/dir/gone").c_str()), 0);
  Rename("source/dir/moved", "source/moved");
  WriteFile("source/dir/new", "text");
  ExpectFound();
  AwaitProgress([](const Progress& now) { return now.audit_found >= 4 && now.audited_unix_seconds > 0; });
  EXPECT_THAT(replicator_->progress().last_error, IsEmpty());
}

TEST_P(AuditorTest, WhatIsToldIsNotCounted) {
  Start();
  for (int i = 0; i < 20; ++i) {
    Write("file", std::string(static_cast<std::size_t>(i), 'x'));
    Write(absl::StrCat("new", i), "text");
    ExpectMirrored();
  }
  AwaitAudits(2);
  EXPECT_EQ(replicator_->progress().audit_found, 0u) << Situation();
}

TEST_P(AuditorTest, HoldsNoBarrier) {
  for (int i = 0; i < 3000; ++i) WriteFile(absl::StrCat("source/f", i), "");
  Start();
  ExpectMirrored();
  AwaitAudits(1);
  // One is always under way, and takes longer than this.
  for (int i = 0; i < 20; ++i) {
    Write("file", std::string(static_cast<std::size_t>(i), 'x'));
    ExpectMirrored();
  }
  // But for what one finds: a file that was read in the tick of its writing is read again.
  AwaitProgress([](const Progress& now) { return now.pending == 0; });
}

TEST_P(AuditorTest, RemembersOverARestartWhenItWasThrough) {
  audit_ = absl::Hours(1);
  Write("file", "text");
  Start();
  ExpectMirrored();
  AwaitProgress([](const Progress& now) { return now.audited_unix_seconds > 0; });  // the scan counts
  const std::int64_t then = replicator_->progress().audited_unix_seconds;
  Stop();
  Open(MakeOptions());
  EXPECT_EQ(Auditor({.tree = nullptr,
                     .selection = nullptr,
                     .expected = nullptr,
                     .interval_ns = 1,
                     .record = state_->path() + "/state/audited",
                     .pending = nullptr})
                .last_unix_s(),
            then);
}

TEST_P(AuditorTest, IsDueWhenTheLastOneWasLongAgo) {
  const std::string record = state_->path() + "/audited";
  const auto due_in_seconds = [&](std::int64_t interval_s) {
    const Auditor auditor({.tree = nullptr,
                           .selection = nullptr,
                           .expected = nullptr,
                           .interval_ns = interval_s * 1'000'000'000,
                           .record = record,
                           .pending = nullptr});
    return absl::ToDoubleSeconds(absl::Nanoseconds(auditor.NextStepNs() - os::BoottimeNs()));
  };
  EXPECT_NEAR(due_in_seconds(1000), 1000, 60);  // never: a scan comes first
  std::ofstream(record).flush();
  const auto set = [&](absl::Time time) {
    const timespec times[2] = {absl::ToTimespec(time), absl::ToTimespec(time)};
    ASSERT_EQ(::utimensat(AT_FDCWD, record.c_str(), times, 0), 0);
  };
  set(absl::Now() - absl::Seconds(400));
  EXPECT_NEAR(due_in_seconds(1000), 600, 60);
  set(absl::Now() - absl::Hours(400));
  EXPECT_NEAR(due_in_seconds(1000), 0, 60);
  set(absl::Now() + absl::Hours(400));  // the clock was set back
  EXPECT_NEAR(due_in_seconds(1000), 1000, 60);
}

}  // namespace
}  // namespace fanmirror::replicate
