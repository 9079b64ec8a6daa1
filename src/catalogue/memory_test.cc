// The backlog lies on the disk: memory does not grow with it.

#include <gtest/gtest.h>

#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "catalogue/pending_set.h"
#include "catalogue/scratch_for_test.h"

namespace fanmirror::catalogue {
namespace {

// KiB of this process that are not mapped from files.
std::int64_t AnonymousKib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssAnon:")) return std::stoll(line.substr(8));
  }
  return -1;
}

TEST(Memory, DoesNotGrowWithTheBacklog) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer's own memory hides what is measured";
#endif
  constexpr int kBatch = 1'000;
  constexpr int kEntries = 300'000;
  constexpr std::int64_t kAllowedKib = 16 << 10;  // pages of one transaction, twice over
  const Scratch scratch;
  auto set = PendingSet::Open(scratch.path(), "boot", {});
  ASSERT_TRUE(set.ok());
  const std::int64_t before = AnonymousKib();
  ASSERT_GT(before, 0);
  for (int first = 0; first < kEntries; first += kBatch) {
    std::vector<model::Change> changes;
    for (int i = first; i < first + kBatch; ++i) {
      changes.push_back(
          {model::Change::Kind::kName, TestId(1 + i % 5000), absl::StrCat("file-", i), false, false});
    }
    ASSERT_STATUS_OK((*set)->Note(changes, first));
  }
  EXPECT_EQ((*set)->Size(), static_cast<std::uint64_t>(kEntries));
  EXPECT_LT(AnonymousKib() - before, kAllowedKib);
}

}  // namespace
}  // namespace fanmirror::catalogue
