#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <string>

#include "os/testing/filesystem.h"
#include "os/tree.h"

namespace fanmirror::os::testing {

// A filesystem with a directory "source", which the tree stands on, and a directory "outside" beside it.
class TreeTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (!IsRoot()) GTEST_SKIP() << "mounting needs root";
    absl::StatusOr<std::unique_ptr<ScopedFilesystem>> made = ScopedFilesystem::Create(GetParam());
    ASSERT_TRUE(made.ok()) << made.status();
    filesystem_ = *std::move(made);
    MakeDirectory("source");
    MakeDirectory("outside");
    OpenTree(At("source"));
  }

  void OpenTree(const std::string& path) {
    absl::StatusOr<std::unique_ptr<Tree>> tree = Tree::Open(path);
    ASSERT_TRUE(tree.ok()) << tree.status();
    tree_ = *std::move(tree);
  }

  std::string At(const std::string& path) const { return filesystem_->path() + "/" + path; }
  void MakeDirectory(const std::string& path) { ASSERT_EQ(::mkdir(At(path).c_str(), 0755), 0) << path; }
  void WriteFile(const std::string& path, const std::string& text) {
    const UniqueFd fd(::open(At(path).c_str(), O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0644));
    ASSERT_TRUE(fd) << path;
    ASSERT_EQ(::write(fd.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  void Rename(const std::string& from, const std::string& to) {
    ASSERT_EQ(::rename(At(from).c_str(), At(to).c_str()), 0) << from;
  }
  model::FileId IdOf(const std::string& path) {
    model::FileId id;
    EXPECT_EQ(IdAt(AT_FDCWD, At(path).c_str(), &id), 0) << path;
    return id;
  }
  // What the tree sees at `name` of the source's root; nullopt also when it fails, which then fails the test.
  std::optional<model::Node> Look(const model::FileId& dir, const std::string& name) {
    absl::StatusOr<std::optional<model::Node>> node = tree_->Look({dir, name});
    EXPECT_TRUE(node.ok()) << node.status();
    return node.ok() ? *node : std::nullopt;
  }
  std::optional<model::Node> Look(const std::string& name) { return Look(tree_->root(), name); }
  std::optional<model::Node> LookNode(const model::FileId& id) {
    absl::StatusOr<std::optional<model::Node>> node = tree_->LookNode(id);
    EXPECT_TRUE(node.ok()) << node.status();
    return node.ok() ? *node : std::nullopt;
  }
  bool Opens(const model::FileId& id, int flags) {
    absl::StatusOr<std::optional<UniqueFd>> fd = tree_->OpenNode(id, flags);
    EXPECT_TRUE(fd.ok()) << fd.status();
    return fd.ok() && fd->has_value();
  }
  bool IsGone(const model::FileId& id) {
    absl::StatusOr<Tree::Place> place = tree_->Locate(id);
    EXPECT_TRUE(place.ok()) << place.status();
    return !LookNode(id) && !Opens(id, O_PATH) && place.ok() && place->kind == Tree::Place::Kind::kGone;
  }

  std::unique_ptr<ScopedFilesystem> filesystem_;
  std::unique_ptr<Tree> tree_;
};

}  // namespace fanmirror::os::testing
