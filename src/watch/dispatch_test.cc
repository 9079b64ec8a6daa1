#include "watch/dispatch.h"

#include <fcntl.h>
#include <sys/fanotify.h>

#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "os/testing/filesystem.h"
#include "watch/testing/event_bytes.h"

namespace fanmirror::watch {
namespace {

constexpr int kOwnPid = 7;

// Events that no test can make a kernel give, against a real tree.
class DispatchTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!os::testing::IsRoot()) GTEST_SKIP() << "opening by handle needs root";
    auto directory = os::testing::ScopedDirectory::Create();
    ASSERT_TRUE(directory.ok()) << directory.status();
    directory_ = *std::move(directory);
    auto tree = os::Tree::Open(directory_->path());
    ASSERT_TRUE(tree.ok()) << tree.status();
    tree_ = *std::move(tree);
    for (int i = 0; i < 2; ++i) {
      dispatch_.Add({tree_.get(),
                     {},
                     {},
                     [this](absl::Span<const model::Change> changes) {
                       told_.insert(told_.end(), changes.begin(), changes.end());
                       order_ += 'c';
                     },
                     [this] { order_ += 'l'; }});
    }
  }
  std::string Created(const std::string& name, int pid = 1) const {
    const model::FileId& root = tree_->root();
    return EventBytes(FAN_CREATE, pid,
                      {EntryRecord(FAN_EVENT_INFO_TYPE_DFID_NAME, root.bytes(), name, root.type())});
  }

  std::unique_ptr<os::testing::ScopedDirectory> directory_;
  std::unique_ptr<os::Tree> tree_;
  EventDispatch dispatch_;
  std::vector<model::Change> told_;
  std::string order_;  // of the calls: changed, lost
};

TEST_F(DispatchTest, AnOverflowIsToldToAllAfterTheChanges) {
  const auto tally = dispatch_.Dispatch(Created("a") + EventBytes(FAN_Q_OVERFLOW, 0, {}) + Created("b"), kOwnPid);
  EXPECT_EQ(tally.events, 3U);
  EXPECT_EQ(tally.overflows, 1U);
  EXPECT_EQ(order_, "ccll");
  EXPECT_EQ(told_.size(), 4U);
}

TEST_F(DispatchTest, ABrokenBufferIsALoss) {
  const std::string second = Created("b");
  const auto tally = dispatch_.Dispatch(Created("a") + second.substr(0, second.size() - 1), kOwnPid);
  EXPECT_EQ(tally.events, 1U);
  EXPECT_EQ(tally.overflows, 1U);
  EXPECT_EQ(order_, "ccll");
}

TEST_F(DispatchTest, AnEventThatTellsTooLittleIsALoss) {
  EXPECT_EQ(dispatch_.Dispatch(EventBytes(FAN_MODIFY, 1, {}), kOwnPid).overflows, 1U);
  EXPECT_EQ(order_, "ll");
}

TEST_F(DispatchTest, AnErrorOfTheFilesystemMayBeAnywhere) {
  const auto tally = dispatch_.Dispatch(EventBytes(FAN_FS_ERROR, 0, {}), kOwnPid);
  EXPECT_EQ(tally.filesystem_errors, 1U);
  EXPECT_EQ(tally.overflows, 0U);
  EXPECT_EQ(order_, "ll");
}

TEST_F(DispatchTest, AnErrorOfTheFilesystemIsLookedAtWhereItIs) {
  using Kind = model::Change::Kind;
  const auto damaged = [&](const model::FileId& id) {
    const std::string record = HandleRecord(FAN_EVENT_INFO_TYPE_FID, id.bytes(), id.type());
    const auto tally = dispatch_.Dispatch(EventBytes(FAN_FS_ERROR, 0, {record}), kOwnPid);
    EXPECT_EQ(tally.filesystem_errors, 1U);
    EXPECT_EQ(tally.overflows, 0U);
    std::vector<model::Change> told = std::exchange(told_, {});
    told.resize(told.size() / 2);  // both subscriptions are told the same
    return told;
  };
  const model::FileId& root = tree_->root();
  EXPECT_EQ(damaged(root), (std::vector<model::Change>{{Kind::kNode, root, "", true, false},
                                                       {Kind::kTree, root, "", false, false}}));
  const std::string path = directory_->path() + "/file";
  std::ofstream(path) << "x";
  model::FileId file;
  ASSERT_EQ(os::IdAt(AT_FDCWD, path.c_str(), &file), 0);
  EXPECT_EQ(damaged(file), (std::vector<model::Change>{{Kind::kNode, file, "", true, false}}));
  EXPECT_EQ(order_, "cccc");
}

TEST_F(DispatchTest, DropsWhatOurOwnProcessDid) {
  EXPECT_EQ(dispatch_.Dispatch(Created("a", kOwnPid) + Created("b", kOwnPid), kOwnPid).events, 2U);
  EXPECT_EQ(order_, "");
  dispatch_.Dispatch(Created("a", 9), kOwnPid);
  EXPECT_EQ(order_, "cc");
}

TEST_F(DispatchTest, TellsAChangeOnceABuffer) {
  dispatch_.Dispatch(Created("a", 1) + Created("a", 2) + Created("b", 1) + Created("a", 3), kOwnPid);
  ASSERT_EQ(told_.size(), 4U);
  EXPECT_EQ(told_[0].name, "a");
  EXPECT_EQ(told_[1].name, "b");
  dispatch_.Dispatch(Created("a", 1), kOwnPid);
  EXPECT_EQ(told_.size(), 6U);
}

TEST_F(DispatchTest, PassesOnWhatLiesInADirectoryThatIsGone) {
  const auto gone = EventBytes(FAN_DELETE, 1, {EntryRecord(FAN_EVENT_INFO_TYPE_DFID_NAME, "nosuchid", "n")});
  dispatch_.Dispatch(gone, kOwnPid);
  EXPECT_EQ(told_.size(), 2U);
}

}  // namespace
}  // namespace fanmirror::watch
