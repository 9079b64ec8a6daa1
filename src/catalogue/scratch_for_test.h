#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "model/file_id.h"

namespace fanmirror::catalogue {

// A directory of this test alone, gone with it.
class Scratch {
 public:
  Scratch() {
    const char* base = getenv("TEST_TMPDIR");
    path_ = std::string(base != nullptr ? base : "/tmp") + "/fanmirror-catalogue-XXXXXX";
    if (mkdtemp(path_.data()) == nullptr) abort();
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline model::FileId TestId(std::uint64_t number) {
  const std::string bytes(reinterpret_cast<const char*>(&number), sizeof number);
  return *model::FileId::FromHandle(1, bytes);
}

}  // namespace fanmirror::catalogue

#define EXPECT_STATUS_OK(expression)                             \
  do {                                                           \
    const absl::Status expect_status = (expression);             \
    EXPECT_TRUE(expect_status.ok()) << expect_status.ToString(); \
  } while (false)
#define ASSERT_STATUS_OK(expression)                             \
  do {                                                           \
    const absl::Status assert_status = (expression);             \
    ASSERT_TRUE(assert_status.ok()) << assert_status.ToString(); \
  } while (false)
