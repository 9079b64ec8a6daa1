#include "cli/progress_line.h"

#include "gtest/gtest.h"

namespace fanmirror::cli {
namespace {

SyncProgress HalfDone() {
  SyncProgress progress;
  progress.files = 500;
  progress.bytes = 50 << 20;
  progress.total = SyncProgress::Total{1000, 100 << 20};
  progress.bytes_per_second = 10 << 20;
  progress.elapsed_seconds = 20;
  return progress;
}

TEST(FormatSync, ShowsFilesBytesRateAndTimeLeft) {
  EXPECT_EQ(FormatSync(HalfDone()), "500 of 1000 files, 50.0 MiB of 100.0 MiB, 10.0 MiB/s, 0:20 left");
}

TEST(FormatSync, ShowsNoTotalsBeforeTheSourceIsCounted) {
  SyncProgress progress = HalfDone();
  progress.total.reset();
  EXPECT_EQ(FormatSync(progress), "500 files, 50.0 MiB, 10.0 MiB/s");
}

TEST(FormatSync, NeverShowsMoreDoneThanThereIs) {
  SyncProgress progress = HalfDone();
  progress.files = 1200;
  progress.bytes = 200 << 20;
  EXPECT_EQ(FormatSync(progress), "1200 of 1200 files, 200.0 MiB of 200.0 MiB, 10.0 MiB/s, 0:00 left");
}

TEST(SecondsLeft, CountsFilesAndBytes) {
  EXPECT_NEAR(*SecondsLeft(HalfDone()), 20, 0.01);
  SyncProgress files_only = HalfDone();
  files_only.bytes = 0;
  files_only.total->bytes = 0;
  files_only.files = 250;
  EXPECT_NEAR(*SecondsLeft(files_only), 60, 0.01);
  SyncProgress one_big_file = HalfDone();
  one_big_file.files = 0;
  one_big_file.bytes = 25LL << 30;
  one_big_file.total = SyncProgress::Total{1, 100LL << 30};
  EXPECT_NEAR(*SecondsLeft(one_big_file), 60, 0.1);
}

TEST(SecondsLeft, SaysNothingTooEarly) {
  SyncProgress progress = HalfDone();
  progress.elapsed_seconds = 0.1;
  EXPECT_EQ(SecondsLeft(progress), std::nullopt);
  progress = HalfDone();
  progress.files = 0;
  progress.bytes = 0;
  EXPECT_EQ(SecondsLeft(progress), std::nullopt);
}

TEST(FormatLive, EscapesTheLastPath) {
  EXPECT_EQ(FormatLive(0.04, 3, "a/b"), "live: lag 0.0 s, 3 pending, last 'a/b'");
  EXPECT_EQ(FormatLive(12.3, 0, ""), "live: lag 12.3 s, 0 pending");
  EXPECT_EQ(FormatLive(0, 0, "a\n\x1b[2J"), "live: lag 0.0 s, 0 pending, last 'a\\x0a\\x1b[2J'");
}

TEST(CutToWidth, KeepsWhatFits) {
  EXPECT_EQ(CutToWidth("abcdef", 6), "abcdef");
  EXPECT_EQ(CutToWidth("abcdefg", 6), "abc...");
  EXPECT_EQ(CutToWidth("abcdefg", 3), "...");
  EXPECT_EQ(CutToWidth("abcdefg", 2), "..");
  EXPECT_EQ(CutToWidth("abc", 0), "");
  EXPECT_EQ(CutToWidth("", 0), "");
}

TEST(CutToWidth, NeverCutsACharacterInTwo) {
  EXPECT_EQ(CutToWidth("ääääää", 6), "ääääää");
  EXPECT_EQ(CutToWidth("ääääääh", 6), "äää...");
  EXPECT_EQ(CutToWidth("日本語日本", 8), "日本...");  // five characters, ten columns
  EXPECT_EQ(CutToWidth("\xe6\x97", 8), "\xe6\x97");   // cut off already
}

}  // namespace
}  // namespace fanmirror::cli
