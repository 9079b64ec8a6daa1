#include "daemon/kept_watches.h"

#include <fcntl.h>

#include <memory>
#include <string>
#include <vector>

#include "daemon/testing/notify_socket.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "os/testing/filesystem.h"

namespace fanmirror::daemon {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::uint64_t kToken = 4711;

class KeptWatchesTest : public testing::NotifySocketTest {
 protected:
  void SetUp() override {
    if (!os::testing::IsRoot()) GTEST_SKIP() << "fanotify and mount need root";
    NotifySocketTest::SetUp();
    auto filesystem = os::testing::ScopedFilesystem::Create("tmpfs");
    ASSERT_TRUE(filesystem.ok()) << filesystem.status();
    filesystem_ = *std::move(filesystem);
    const auto mount = watch::ResolveMount(filesystem_->path());
    ASSERT_TRUE(mount.ok()) << mount.status();
    mount_ = *mount;
  }
  // A process makes a watch with a token, has it kept, and dies.
  void MakeAndDie() {
    ServiceManager service;
    KeptWatches watches(&service, watch::QueueBound::kUnlimited, Ignore);
    auto watcher = watches.Open(mount_);
    ASSERT_TRUE(watcher.ok()) << watcher.status();
    (*watcher)->SetComplete((*watcher)->Subscribe({}), kToken);
    (*watcher)->Stop();
    for (int i = 0; i < 2; ++i) {
      auto [text, fd] = NextWithFd();
      names_.push_back(text.substr(text.rfind('=') + 1));
      fds_.push_back(std::move(fd));
    }
  }
  // Whether the next process, given these of what is kept, finds the token.
  bool NextGoesOn(const std::vector<int>& fds, const std::string& names) {
    return testing::RunAsService(fds, names, [&](ServiceManager& service) {
             KeptWatches watches(&service, watch::QueueBound::kUnlimited, Ignore);
             auto watcher = watches.Open(mount_);
             const bool goes_on = watcher.ok() && (*watcher)->IsComplete((*watcher)->Subscribe({}), kToken);
             watches.DiscardUnasked();
             return goes_on;
           }) == 0;
  }
  // What the service manager was told up to now.
  std::vector<std::string> Told() {
    std::vector<std::string> told;
    char buffer[4096];
    for (ssize_t length; (length = ::recv(socket_.get(), buffer, sizeof buffer, MSG_DONTWAIT)) > 0;) {
      told.emplace_back(buffer, static_cast<std::size_t>(length));
    }
    return told;
  }
  static std::string Removal(const std::string& name) { return "FDSTOREREMOVE=1\nFDNAME=" + name; }
  static void Ignore(Severity, std::string_view) {}

  std::unique_ptr<os::testing::ScopedFilesystem> filesystem_;
  watch::Mount mount_;
  std::vector<std::string> names_;  // of queue and buffer
  std::vector<os::UniqueFd> fds_;
};

TEST_F(KeptWatchesTest, APairGoesOnInWhateverOrderItComes) {
  MakeAndDie();
  EXPECT_EQ(names_[0].substr(0, 6), "queue-");
  EXPECT_EQ(names_[1], "buffer-" + names_[0].substr(6));
  EXPECT_TRUE(NextGoesOn({fds_[1].get(), fds_[0].get()}, names_[1] + ":" + names_[0]));
  EXPECT_THAT(Told(), IsEmpty()) << "it goes on keeping both";
}

TEST_F(KeptWatchesTest, WhatIsUnknownIsLetGoOf) {
  MakeAndDie();
  const os::UniqueFd other(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  EXPECT_TRUE(NextGoesOn({other.get(), fds_[0].get(), fds_[1].get()}, "stored:" + names_[0] + ":" + names_[1]));
  EXPECT_THAT(Told(), ElementsAre(Removal("stored")));
}

TEST_F(KeptWatchesTest, HalfAPairIsLetGoOf) {
  MakeAndDie();
  EXPECT_FALSE(NextGoesOn({fds_[0].get()}, names_[0]));
  EXPECT_THAT(Told(), ::testing::IsSupersetOf({Removal(names_[0]), Removal(names_[1])}));
}

TEST_F(KeptWatchesTest, AWatchOfAnotherFilesystemIsLetGoOf) {
  MakeAndDie();
  auto another = os::testing::ScopedFilesystem::Create("tmpfs");
  ASSERT_TRUE(another.ok()) << another.status();
  mount_ = *watch::ResolveMount((*another)->path());
  EXPECT_FALSE(NextGoesOn({fds_[0].get(), fds_[1].get()}, names_[0] + ":" + names_[1]));
  EXPECT_THAT(Told(), ::testing::IsSupersetOf({Removal(names_[0]), Removal(names_[1])}));
}

TEST_F(KeptWatchesTest, AWatchThatIsOverIsLetGoOf) {
  ServiceManager service;
  KeptWatches watches(&service, watch::QueueBound::kUnlimited, Ignore);
  const auto watcher = watches.Open(mount_);
  ASSERT_TRUE(watcher.ok()) << watcher.status();
  EXPECT_EQ(Told().size(), 2U);
  watches.Discard(watcher->get());
  EXPECT_EQ(Told().size(), 2U);
  watches.Discard(watcher->get());
  EXPECT_THAT(Told(), IsEmpty());
}

}  // namespace
}  // namespace fanmirror::daemon
