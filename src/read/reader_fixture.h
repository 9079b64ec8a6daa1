#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "os/testing/filesystem.h"
#include "os/tree.h"
#include "os/unique_fd.h"
#include "read/reader.h"

// For the tests of this folder only.
namespace fanmirror::read {

// What the parts of one request come to.
struct Result {
  std::optional<Begin> begin = {};
  std::vector<std::pair<std::uint64_t, std::uint64_t>> runs = {};  // offset and length; neighbours are joined
  std::string data = {};                                           // of all runs
  std::size_t pieces = 0;
  std::optional<End> end = {};
  bool gone = false;
  bool moved = false;
  absl::Status failure = {};
};

// Takes the parts of the next request; checks their order. `from_the_midst`: those that are left.
inline Result TakeResult(Reader* reader, bool from_the_midst = false) {
  Result result;
  std::uint64_t last = 0;
  for (;;) {
    Part part = reader->Next();
    if (auto* begin = std::get_if<Begin>(&part)) {
      EXPECT_FALSE(result.begin.has_value()) << "begun twice";
      result.begin = std::move(*begin);
    } else if (auto* data = std::get_if<Data>(&part)) {
      EXPECT_TRUE(from_the_midst || result.begin.has_value()) << "data before the beginning";
      EXPECT_FALSE(data->bytes.empty());
      EXPECT_GE(data->offset, last) << "offsets must ascend";
      if (!result.runs.empty() && data->offset == last) {
        result.runs.back().second += data->bytes.size();
      } else {
        result.runs.emplace_back(data->offset, data->bytes.size());
      }
      last = data->offset + data->bytes.size();
      result.data.append(data->bytes.data(), data->bytes.size());
      ++result.pieces;
    } else if (auto* end = std::get_if<End>(&part)) {
      EXPECT_TRUE(from_the_midst || result.begin.has_value()) << "an end without a beginning";
      result.end = *end;
      return result;
    } else if (std::holds_alternative<Moved>(part)) {
      result.moved = true;
      return result;
    } else if (auto* failed = std::get_if<Failed>(&part)) {
      result.failure = failed->status;
      return result;
    } else {
      EXPECT_FALSE(result.begin.has_value()) << "gone after the beginning";
      result.gone = true;
      return result;
    }
  }
}

// One filesystem of each type for the whole program; each test has a directory of its own on it.
class Filesystems : public ::testing::Environment {
 public:
  static os::testing::ScopedFilesystem* Get(const std::string& fstype) {
    std::unique_ptr<os::testing::ScopedFilesystem>& filesystem = All()[fstype];
    if (filesystem == nullptr) {
      auto made = os::testing::ScopedFilesystem::Create(fstype);
      EXPECT_TRUE(made.ok()) << made.status();
      if (made.ok()) filesystem = *std::move(made);
    }
    return filesystem.get();
  }
  void TearDown() override { All().clear(); }

 private:
  static std::map<std::string, std::unique_ptr<os::testing::ScopedFilesystem>>& All() {
    static std::map<std::string, std::unique_ptr<os::testing::ScopedFilesystem>> all;
    return all;
  }
};

inline ::testing::Environment* const kFilesystems = ::testing::AddGlobalTestEnvironment(new Filesystems);

// A source directory of its own, and a reader of it.
class SourceTest {
 public:
  void Open(const std::string& directory, os::Ring::Kind kind, const Belongs& belongs = {}) {
    path_ = directory + "/XXXXXX";
    ASSERT_NE(::mkdtemp(path_.data()), nullptr) << std::strerror(errno);
    auto tree = os::Tree::Open(path_);
    ASSERT_TRUE(tree.ok()) << tree.status();
    tree_ = *std::move(tree);
    auto reader = Reader::Create(tree_.get(), belongs, kind);
    ASSERT_TRUE(reader.ok()) << reader.status();
    reader_ = *std::move(reader);
  }

  std::string At(std::string_view name) const { return absl::StrCat(path_, "/", std::string(name)); }

  os::UniqueFd Create(std::string_view name) const {
    os::UniqueFd fd(::open(At(name).c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644));
    EXPECT_TRUE(fd) << std::strerror(errno);
    return fd;
  }
  static void WriteAt(int fd, std::uint64_t offset, std::string_view bytes) {
    EXPECT_EQ(::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset)),
              static_cast<ssize_t>(bytes.size()))
        << std::strerror(errno);
  }
  void Write(std::string_view name, std::string_view bytes) const { WriteAt(Create(name).get(), 0, bytes); }

  // All that was written, at once: evicting many files is quick then.
  void Sync() const {
    ASSERT_EQ(::syncfs(os::UniqueFd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC)).get()), 0);
  }
  // Out of the page cache, so that a read has to wait for the disk.
  void Evict(std::string_view name) const {
    const os::UniqueFd fd(::open(At(name).c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_EQ(::fsync(fd.get()), 0);
    ASSERT_EQ(::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED), 0);
  }

  model::FileId Id(std::string_view name) const {
    model::FileId id;
    EXPECT_EQ(os::IdAt(AT_FDCWD, At(name).c_str(), &id), 0) << name;
    return id;
  }

  model::Metadata Stat(std::string_view name) const {
    model::Metadata metadata;
    EXPECT_EQ(os::StatAt(AT_FDCWD, At(name).c_str(), &metadata), 0) << name;
    return metadata;
  }

  Result Read(const Request& request) const {
    reader_->Submit(request);
    Result result = TakeResult(reader_.get());
    EXPECT_TRUE(reader_->Idle());
    return result;
  }
  Result ReadContent(std::string_view name) const { return Read({.id = Id(name), .content = true}); }

  Reader* reader() const { return reader_.get(); }
  void CloseReader() { reader_.reset(); }

 private:
  std::string path_;
  std::unique_ptr<os::Tree> tree_;
  std::unique_ptr<Reader> reader_;
};

using Parameters = std::tuple<std::string, os::Ring::Kind>;

// On each filesystem, with each kind of ring.
class ReaderTest : public ::testing::TestWithParam<Parameters>, public SourceTest {
 protected:
  void SetUp() override {
    if (!os::testing::IsRoot()) GTEST_SKIP() << "file handles and mounts need root";
    os::testing::ScopedFilesystem* filesystem = Filesystems::Get(fstype());
    ASSERT_NE(filesystem, nullptr);
    Open(filesystem->path(), std::get<1>(GetParam()), belongs());
  }
  void TearDown() override {
    CloseReader();
    if (!At("").empty() && At("") != "/") (void)os::testing::RunCommand({"rm", "-rf", "--", At("")});
  }
  virtual Belongs belongs() { return {}; }
  std::string fstype() const { return std::get<0>(GetParam()); }
};

inline std::string NameOf(const ::testing::TestParamInfo<Parameters>& info) {
  return std::get<0>(info.param) + (std::get<1>(info.param) == os::Ring::Kind::kBest ? "_best" : "_threads");
}

#define FANMIRROR_ON_ALL_FILESYSTEMS(suite)                                                   \
  INSTANTIATE_TEST_SUITE_P(                                                                   \
      Filesystems, suite,                                                                     \
      ::testing::Combine(::testing::ValuesIn(os::testing::AllFilesystems()),                  \
                         ::testing::Values(os::Ring::Kind::kBest, os::Ring::Kind::kThreads)), \
      NameOf)

// Bytes that tell where they stand in the file.
inline std::string Pattern(std::uint64_t offset, std::size_t length) {
  std::string bytes(length, '\0');
  for (std::size_t i = 0; i < length; ++i) {
    const std::uint64_t place = (offset + i) / 8;
    bytes[i] = static_cast<char>((place * 0x9E3779B97F4A7C15ULL) >> (((offset + i) % 8) * 8) | 1);
  }
  return bytes;
}

}  // namespace fanmirror::read
