#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "apply/testing/scripted_source.h"
#include "hash/content_hasher.h"
#include "os/testing/filesystem.h"
#include "os/unique_fd.h"

namespace fanmirror::apply {
namespace {

using model::NodeType;
using testing::ScriptedSource;

model::Metadata Symlink() {
  model::Metadata metadata;
  metadata.type = NodeType::kSymlink;
  metadata.mode = 0777;
  return metadata;
}

// What a source may ask of a receiver beside the ops.
class Questions : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (!os::testing::IsRoot()) GTEST_SKIP() << "needs root to mount filesystems";
    auto filesystem = os::testing::ScopedFilesystem::Create(GetParam());
    ASSERT_TRUE(filesystem.ok()) << filesystem.status();
    filesystem_ = *std::move(filesystem);
    root_ = filesystem_->path() + "/root";
    source_ = std::make_unique<ScriptedSource>(root_);
    ASSERT_TRUE(source_->Greet().has_value());
    source_->Begin(1);
  }
  void TearDown() override {
    if (source_ == nullptr) return;
    if (source_->in_batch()) source_->EndAndWait();
    EXPECT_EQ(source_->Close(), 0) << source_->Complaint();
  }
  std::string At(const std::string& path) const { return root_ + "/" + path; }

  std::unique_ptr<os::testing::ScopedFilesystem> filesystem_;
  std::string root_;
  std::unique_ptr<ScriptedSource> source_;
};

TEST_P(Questions, ListingsWithDigests) {
  source_->Make("l", Symlink(), {}, "some/where");
  const std::vector<model::Xattr> xattrs = {{"trusted.b", "2"}, {"user.a", "1"}};
  source_->Put("f", "x", {}, xattrs);
  source_->EndAndWait();
  std::map<std::string, wire::ListedEntry> found;
  const auto listings = source_->List("", true);
  for (const auto& entry : listings.at(0).entries) found[entry.name] = entry;
  EXPECT_EQ(found["l"].symlink_target, hash::DigestOf("some/where"));
  EXPECT_EQ(found["l"].xattrs, hash::DigestOf(absl::Span<const model::Xattr>()));
  EXPECT_EQ(found["f"].xattrs, hash::DigestOf(absl::MakeConstSpan(xattrs)));
  EXPECT_EQ(source_->List("f", false).at(0).self.xattrs, found["f"].xattrs);
}

TEST_P(Questions, ListingsByPages) {
  for (int i = 0; i < 2500; ++i) source_->Put("f" + std::to_string(i), "");
  source_->EndAndWait();
  const auto pages = source_->List("", true, /*by_pages=*/true);
  ASSERT_EQ(pages.size(), 3u);
  std::set<std::string> names;
  for (const auto& page : pages) {
    EXPECT_TRUE(page.exists);
    for (const auto& entry : page.entries) EXPECT_TRUE(names.insert(entry.name).second) << entry.name;
  }
  EXPECT_EQ(names.size(), 2500u);
  EXPECT_EQ(source_->List("", true).size(), 3u);
}

TEST_P(Questions, HashesOfFiles) {
  std::string content(3'000'000, '\0');
  for (std::size_t at = 1'000'000; at < 2'000'000; at += 7) content[at] = static_cast<char>(at);
  source_->Put("f", content);
  source_->Directory("d");
  source_->Make("l", Symlink(), {}, "f");
  source_->Put("empty", "");
  source_->EndAndWait();
  hash::SparseHasher hasher;
  hasher.Add(0, content);
  const auto hash = source_->HashFile("f");
  ASSERT_TRUE(hash.has_value());
  EXPECT_TRUE(hash->exists);
  EXPECT_EQ(hash->hash, hasher.Finish(content.size()));
  EXPECT_EQ(source_->HashFile("empty")->hash, hasher.Finish(0));
  for (const char* path : {"d", "l", "gone", "l/x", "d/x", ""}) EXPECT_FALSE(source_->HashFile(path)->exists) << path;
  // Whatever else is allocated there.
  const os::UniqueFd fd(::open(At("f").c_str(), O_WRONLY | O_CLOEXEC));
  ASSERT_EQ(::pwrite(fd.get(), content.data(), 100'000, 0), 100'000);
  EXPECT_EQ(source_->HashFile("f")->hash, hash->hash);
  ASSERT_EQ(::pwrite(fd.get(), "x", 1, 2'999'999), 1);
  EXPECT_NE(source_->HashFile("f")->hash, hash->hash);
}

TEST_P(Questions, NothingOutsideTheRootIsHashedOrListed) {
  const os::UniqueFd secret(::open((filesystem_->path() + "/secret").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_EQ(::write(secret.get(), "s", 1), 1);
  source_->EndAndWait();
  ASSERT_EQ(::symlink("../secret", At("out").c_str()), 0);
  ASSERT_EQ(::symlink("..", At("up").c_str()), 0);
  for (const char* path : {"out", "up/secret", "up/root"}) {
    const auto hash = source_->HashFile(path);
    ASSERT_TRUE(hash.has_value());
    EXPECT_FALSE(hash->exists) << path;
  }
  EXPECT_EQ(source_->List("out", true).at(0).self.metadata.type, NodeType::kSymlink);
  EXPECT_FALSE(source_->List("up/secret", true).at(0).exists);
}

// Opening one would wait for its other end, or wake a driver.
TEST_P(Questions, OnlyRegularFilesAreOpened) {
  source_->EndAndWait();
  ASSERT_EQ(::mkfifo(At("fifo").c_str(), 0600), 0);
  ASSERT_EQ(::mknod(At("tty").c_str(), S_IFCHR | 0600, makedev(5, 0)), 0);
  ASSERT_EQ(::mknod(At("socket").c_str(), S_IFSOCK | 0600, 0), 0);
  for (const char* path : {"fifo", "tty", "socket"}) {
    const auto hash = source_->HashFile(path);
    ASSERT_TRUE(hash.has_value()) << path;
    EXPECT_FALSE(hash->exists) << path;
    EXPECT_EQ(hash->error, "") << path;
  }
}

TEST_P(Questions, WhatIsTheReceiversOwnIsNotHashed) {
  source_->EndAndWait();
  ASSERT_EQ(::access(At(".fanmirror/marker").c_str(), R_OK), 0);
  for (const char* path : {".fanmirror/marker", ".fanmirror"}) EXPECT_FALSE(source_->HashFile(path)->exists) << path;
}

INSTANTIATE_TEST_SUITE_P(On, Questions, ::testing::ValuesIn(os::testing::AllFilesystems()),
                         [](const auto& parameter) { return parameter.param; });

}  // namespace
}  // namespace fanmirror::apply
