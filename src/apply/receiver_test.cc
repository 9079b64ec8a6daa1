#include "apply/receiver.h"

#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <functional>
#include <set>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "apply/testing/scripted_source.h"
#include "os/testing/filesystem.h"

namespace fanmirror::apply {
namespace {

using model::NodeType;
using model::Reaction;
using os::testing::ScopedFilesystem;
using testing::ScriptedSource;

class Receiver : public ::testing::Test {
 protected:
  void SetUp() override {
    auto made = os::testing::ScopedDirectory::Create();
    ASSERT_TRUE(made.ok()) << made.status();
    directory_ = *std::move(made);
    root_ = directory_->path() + "/root";
  }

  std::string Read(const std::string& path) const {
    std::ifstream file(root_ + "/" + path, std::ios::binary);
    std::stringstream content;
    content << file.rdbuf();
    return content.str();
  }
  std::set<std::string> Names(const std::string& path) const {
    std::set<std::string> names;
    DIR* dir = opendir((root_ + "/" + path).c_str());
    if (dir == nullptr) return names;
    while (const dirent* entry = readdir(dir)) names.insert(entry->d_name);
    closedir(dir);
    names.erase(".");
    names.erase("..");
    return names;
  }
  // The refusal, empty when there is none.
  std::string Refusal(const wire::Hello& hello) const {
    ScriptedSource source(root_);
    const auto reply = source.Greet(hello);
    EXPECT_TRUE(reply.has_value());
    const int status = source.Close();
    if (!reply) return "no reply";
    EXPECT_EQ(status == 0, reply->refusal.empty());
    EXPECT_EQ(reply->refusal.find('\n'), std::string::npos);
    if (!reply->refusal.empty()) {
      EXPECT_EQ(reply->reaction, Reaction::kReconnect);
    }
    return reply->refusal;
  }

  std::unique_ptr<os::testing::ScopedDirectory> directory_;
  std::string root_;
};

TEST_F(Receiver, MakesItsRootAndRemembersWhoseItIs) {
  {
    ScriptedSource source(root_);
    const auto reply = source.Greet();
    ASSERT_TRUE(reply.has_value());
    EXPECT_EQ(reply->refusal, "");
    EXPECT_TRUE(reply->empty);
    EXPECT_EQ(reply->begun, 0u);
    EXPECT_EQ(reply->root, root_);
    source.Begin(5);
    source.Put("f", "1");
    EXPECT_TRUE(source.EndAndWait().failures.empty());
    EXPECT_EQ(source.Close(), 0);
  }
  ScriptedSource source(root_);
  const auto reply = source.Greet();
  ASSERT_TRUE(reply.has_value());
  EXPECT_FALSE(reply->empty);
  EXPECT_EQ(reply->begun, 5u);
  EXPECT_EQ(reply->durable, 5u);
  source.Begin(6);
  EXPECT_EQ(source.Close(), 1);  // in the midst of a batch
  EXPECT_EQ(Names(".fanmirror").count("at.6.5"), 1u);
}

TEST_F(Receiver, RefusesInWordsAndWritesNothing) {
  auto hello = ScriptedSource::DefaultHello();
  hello.protocol = 7;
  hello.program = "9.9";
  EXPECT_TRUE(absl::StrContains(Refusal(hello), "fanmirror 9.9 with protocol 7")) << Refusal(hello);
  EXPECT_TRUE(absl::StrContains(Refusal(hello), "install the same version"));
  hello = ScriptedSource::DefaultHello();
  hello.path = "/tmp";
  EXPECT_TRUE(absl::StrContains(Refusal(hello), "serves '" + root_ + "' only"));
  ASSERT_EQ(mkdir((root_ + "/data").c_str(), 0755), 0);
  hello = ScriptedSource::DefaultHello();
  EXPECT_TRUE(absl::StrContains(Refusal(hello), "use adopt"));
  EXPECT_EQ(Names("."), std::set<std::string>{"data"});
  hello.adopt = true;
  EXPECT_EQ(Refusal(hello), "");
  hello.adopt = false;
  EXPECT_EQ(Refusal(hello), "");
  hello.path = root_ + "/../root/.";
  EXPECT_EQ(Refusal(hello), "");
  root_ += "/no/parent";
  EXPECT_TRUE(absl::StrContains(Refusal(hello), "make its parent"));
}

TEST_F(Receiver, AnotherInstanceIsRefusedUntilItAdopts) {
  {
    ScriptedSource source(root_);
    ASSERT_TRUE(source.Greet().has_value());
    source.Begin(9);
    source.EndAndWait();
    source.Close();
  }
  auto hello = ScriptedSource::DefaultHello();
  hello.instance = "another";
  EXPECT_TRUE(absl::StrContains(Refusal(hello), "mirror of job 'job' of 'host:/source'")) << Refusal(hello);
  hello = ScriptedSource::DefaultHello();
  hello.job = "another";
  EXPECT_TRUE(absl::StrContains(Refusal(hello), "use adopt"));
  hello = ScriptedSource::DefaultHello();
  hello.instance = "another";
  hello.adopt = true;
  ScriptedSource source(root_);
  const auto reply = source.Greet(hello);
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(reply->refusal, "");
  EXPECT_EQ(reply->begun, 0u);  // the numbers were the other's
  source.Close();
  EXPECT_NE(Refusal(ScriptedSource::DefaultHello()), "");
}

TEST_F(Receiver, ADamagedMarkerIsRefused) {
  EXPECT_EQ(Refusal(ScriptedSource::DefaultHello()), "");
  for (const std::string text :
       {"", "fanmirror-marker 1\njob=job\n", "fanmirror-marker 2\njob=job\ninstance=instance\n"}) {
    std::ofstream(root_ + "/.fanmirror/marker") << text;
    EXPECT_TRUE(absl::StrContains(Refusal(ScriptedSource::DefaultHello()), "damaged"));
  }
  unlink((root_ + "/.fanmirror/marker").c_str());
  EXPECT_EQ(Refusal(ScriptedSource::DefaultHello()), "");
}

TEST_F(Receiver, AHomeThatIsNoDirectoryOfOursIsRefused) {
  ASSERT_EQ(mkdir(root_.c_str(), 0755), 0);
  ASSERT_EQ(symlink("/tmp", (root_ + "/.fanmirror").c_str()), 0);
  EXPECT_NE(Refusal(ScriptedSource::DefaultHello()), "");
  struct stat st {};
  EXPECT_NE(stat("/tmp/marker", &st), 0);
}

TEST_F(Receiver, NumbersThatAreBrokenCountAsNone) {
  const auto begun = [this]() -> std::uint64_t {
    ScriptedSource source(root_);
    const auto reply = source.Greet();
    source.Close();
    return reply ? reply->begun : 99;
  };
  EXPECT_EQ(begun(), 0u);
  const std::string home = root_ + "/.fanmirror/";
  ASSERT_EQ(rename((home + "at.0.0").c_str(), (home + "at.12.10").c_str()), 0);
  EXPECT_EQ(begun(), 12u);
  std::ofstream(home + "at.13.10");
  EXPECT_EQ(begun(), 0u);
  for (const std::string name :
       {"at.3", "at.03.1", "at.3.4", "at.-1.-1", "at.3.1x", "at.99999999999999999999.1"}) {
    ASSERT_EQ(rename((home + "at.0.0").c_str(), (home + name).c_str()), 0);
    EXPECT_EQ(begun(), 0u) << name;
  }
}

TEST_F(Receiver, LostAndFoundIsNoDataButNotNothing) {
  ASSERT_EQ(mkdir(root_.c_str(), 0755), 0);
  ASSERT_EQ(mkdir((root_ + "/lost+found").c_str(), 0700), 0);
  ScriptedSource source(root_);
  const auto reply = source.Greet();
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(reply->refusal, "");
  EXPECT_FALSE(reply->empty);
}

TEST_F(Receiver, AStaleReceiverOfTheSameInstanceGivesWay) {
  ScriptedSource stale(root_);
  ASSERT_TRUE(stale.Greet().has_value());
  stale.Begin(1);
  stale.BeginPut("half", {});
  stale.Data(0, "half a file");
  stale.Flush();
  ScriptedSource source(root_);
  const auto reply = source.Greet();
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(reply->refusal, "");
  EXPECT_EQ(stale.Wait(), -SIGTERM);
  EXPECT_TRUE(Names(".fanmirror/staging").empty());
  EXPECT_EQ(Names(".").count("half"), 0u);
}

TEST_F(Receiver, AStoppedReceiverOfTheSameInstanceIsKilled) {
  ScriptedSource stale(root_, [] { signal(SIGTERM, SIG_IGN); });
  ASSERT_TRUE(stale.Greet().has_value());
  ScriptedSource source(root_);
  const auto reply = source.Greet();
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(reply->refusal, "");
  EXPECT_EQ(stale.Wait(), -SIGKILL);
}

TEST_F(Receiver, AnotherInstanceAtWorkIsNamed) {
  ScriptedSource first(root_);
  ASSERT_TRUE(first.Greet().has_value());
  auto hello = ScriptedSource::DefaultHello();
  hello.instance = "another";
  hello.adopt = true;
  const std::string refusal = Refusal(hello);
  EXPECT_TRUE(absl::StrContains(refusal, absl::StrCat("process ", first.pid()))) << refusal;
  EXPECT_TRUE(absl::StrContains(refusal, "host:/source")) << refusal;
  first.Begin(1);
  first.Put("f", "still at work");
  EXPECT_TRUE(first.EndAndWait().failures.empty());
}

TEST_F(Receiver, AStrangerWithThePidOfTheHolderIsNotKilled) {
  EXPECT_EQ(Refusal(ScriptedSource::DefaultHello()), "");
  const pid_t stranger = fork();
  if (stranger == 0) {
    pause();
    _exit(0);
  }
  // A lock that is held by us, in the name of the stranger.
  std::ofstream(root_ + "/.fanmirror/lock") << "pid=" << stranger << "\ninstance=instance\nsource=s\n";
  const int held = open((root_ + "/.fanmirror/lock").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_EQ(flock(held, LOCK_EX | LOCK_NB), 0);
  EXPECT_TRUE(absl::StrContains(Refusal(ScriptedSource::DefaultHello()), "another receiver is at work"));
  close(held);
  int status = 0;
  EXPECT_EQ(waitpid(stranger, &status, WNOHANG), 0);
  kill(stranger, SIGKILL);
  waitpid(stranger, &status, 0);
}

TEST_F(Receiver, TheConversationIsHeldToItsOrder) {
  const auto complaint = [this](const std::function<void(ScriptedSource&)>& say, bool greet) {
    ScriptedSource source(root_);
    if (greet) {
      EXPECT_TRUE(source.Greet().has_value());
    }
    say(source);
    EXPECT_EQ(source.Close(), 1);
    return source.Complaint();
  };
  EXPECT_TRUE(absl::StrContains(complaint([](auto& source) { source.Begin(1); }, false), "before Hello"));
  EXPECT_TRUE(
      absl::StrContains(complaint([](auto& source) { source.Put("f", "x"); }, true), "outside a batch"));
  EXPECT_TRUE(absl::StrContains(complaint(
                                    [](auto& source) {
                                      source.Begin(4);
                                      source.End();
                                      source.Begin(4);
                                    },
                                    true),
                                "after batch 4"));
  EXPECT_TRUE(absl::StrContains(complaint([](auto& source) { source.Raw("\xff\xff\xff\xff\xff"); }, true),
                                "no frame"));
  std::string bad;
  wire::AppendFrame(wire::FrameType::kOp, "\x0a\x05garba", &bad);
  EXPECT_TRUE(absl::StrContains(complaint(
                                    [&](auto& source) {
                                      source.Begin(1);
                                      source.Raw(bad);
                                    },
                                    true),
                                "malformed Op"));
  EXPECT_TRUE(absl::StrContains(complaint([](auto& source) { source.Raw(std::string("\x05\0", 2)); }, true),
                                "ended"));
}

TEST_F(Receiver, ASourceThatFallsSilentIsLost) {
  ScriptedSource source(root_);
  wire::Hello hello = ScriptedSource::DefaultHello();
  hello.silence = absl::Milliseconds(300);
  ASSERT_TRUE(source.Greet(hello).has_value());
  EXPECT_EQ(source.Wait(), 1);  // though its input is open
  EXPECT_TRUE(absl::StrContains(source.Complaint(), "silent for 300ms"));
}

TEST_F(Receiver, ASourceThatSpeaksIsKeptAndHearsThatTheReceiverLives) {
  ScriptedSource source(root_);
  wire::Hello hello = ScriptedSource::DefaultHello();
  hello.silence = absl::Seconds(20);
  ASSERT_TRUE(source.Greet(hello).has_value());
  EXPECT_TRUE(source.HearsPing());  // unasked
  EXPECT_EQ(source.Close(), 0);
}

TEST_F(Receiver, PingsAreAnsweredAndEmptyBatchesAcknowledged) {
  ScriptedSource source(root_);
  ASSERT_TRUE(source.Greet().has_value());
  EXPECT_TRUE(source.Ping(1));
  for (std::uint64_t number = 1; number <= 200; ++number) {
    source.Begin(number);
    source.End();
  }
  for (std::uint64_t number = 1; number <= 200; ++number) EXPECT_EQ(source.WaitAck().number, number);
  EXPECT_EQ(source.Close(), 0);
}

// As on a filesystem with shorter names than the source's, of which there is none that every kernel has: what comes to its
// place by this call, as directories do, is refused.
void RefuseNames() {
  const scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
  const auto refuse = SCMP_ACT_ERRNO(ENAMETOOLONG);
  if (seccomp_rule_add(filter, refuse, SCMP_SYS(renameat2), 1, SCMP_A4(SCMP_CMP_EQ, RENAME_NOREPLACE)) != 0) _exit(99);
  if (seccomp_load(filter) != 0) _exit(99);
  seccomp_release(filter);
}

TEST_F(Receiver, ANameThatTheTargetDoesNotTakeFailsWithWhatIsBelowItOnly) {
  ScriptedSource source(root_, RefuseNames);
  ASSERT_TRUE(source.Greet().has_value());
  source.Begin(1);
  source.Directory("long");
  source.Put("long/file", "content");
  source.Put("other", "content");
  const wire::Ack ack = source.EndAndWait();
  ASSERT_EQ(ack.failures.size(), 2u);
  EXPECT_EQ(ack.failures[0].index, 0u);
  EXPECT_EQ(ack.failures[0].reaction, Reaction::kSkipAndReport);
  EXPECT_TRUE(absl::StrContains(ack.failures[0].message, "'long'")) << ack.failures[0].message;
  EXPECT_TRUE(absl::StrContains(ack.failures[0].message, "shorter names")) << ack.failures[0].message;
  EXPECT_EQ(ack.failures[1].index, 1u);
  EXPECT_EQ(ack.failures[1].reaction, Reaction::kLookAgain);
  EXPECT_EQ(Read("other"), "content");
  EXPECT_EQ(Names("."), (std::set<std::string>{".fanmirror", "other"}));
  EXPECT_EQ(Names(".fanmirror/staging"), std::set<std::string>{});
  EXPECT_EQ(source.Close(), 0);
}

class OnFilesystem : public Receiver, public ::testing::WithParamInterface<std::string> {
 protected:
  void SetUp() override {
    if (!os::testing::IsRoot()) GTEST_SKIP() << "needs root to mount filesystems";
  }
  void Mount(std::uint64_t bytes) {
    auto made = ScopedFilesystem::Create(GetParam(), bytes);
    ASSERT_TRUE(made.ok()) << made.status();
    filesystem_ = *std::move(made);
    root_ = filesystem_->path() + "/root";
  }
  std::unique_ptr<ScopedFilesystem> filesystem_;
};

TEST_P(OnFilesystem, AFullDiskFailsOnlyWhatDoesNotFit) {
  Mount(ScopedFilesystem::kDefaultBytes);
  ScriptedSource source(root_);
  ASSERT_TRUE(source.Greet().has_value());
  source.Begin(1);
  source.Put("small", "old");
  EXPECT_TRUE(source.EndAndWait().failures.empty());
  const std::string content(64 << 20, 'c');
  std::uint64_t number = 2;
  wire::Ack ack;
  // Files of 64 MiB until one does not fit into the filesystem of 512.
  for (; ack.failures.empty() && number < 12; ++number) {
    source.Begin(number);
    source.Put("big" + std::to_string(number), content);
    source.Put("small", "new" + std::to_string(number));
    ack = source.EndAndWait();
  }
  ASSERT_FALSE(ack.failures.empty());
  EXPECT_EQ(ack.failures[0].index, 0u);
  EXPECT_EQ(ack.failures[0].reaction, Reaction::kRetry) << ack.failures[0].message;
  EXPECT_TRUE(absl::StrContains(ack.failures[0].message, "free space on the target"))
      << ack.failures[0].message;
  EXPECT_EQ(Names(".").count("big" + std::to_string(number - 1)), 0u);
  EXPECT_EQ(ack.failures.size(), 1u) << ack.failures[1].message;
  EXPECT_EQ(Read("small"), "new" + std::to_string(number - 1));
  source.Begin(number, number - 1);
  source.Change(model::Op::Kind::kRemove, "big2");
  EXPECT_TRUE(source.EndAndWait().failures.empty());
  source.Begin(number + 1, number);
  source.Put("big" + std::to_string(number - 1), content);
  EXPECT_TRUE(source.EndAndWait().failures.empty());
  EXPECT_TRUE(Read("big" + std::to_string(number - 1)) == content);
  EXPECT_EQ(source.Close(), 0);
}

TEST_P(OnFilesystem, AReadOnlyDiskIsToldAndHealed) {
  Mount(ScopedFilesystem::kDefaultBytes);
  ScriptedSource source(root_);
  ASSERT_TRUE(source.Greet().has_value());
  source.Begin(1);
  source.Put("f", "old");
  source.EndAndWait();
  source.Begin(2);
  EXPECT_TRUE(source.Ping(1));
  ASSERT_TRUE(os::testing::RunCommand({"mount", "-o", "remount,ro", filesystem_->path()}).ok());
  source.Put("f", "new");
  source.End();
  // Its number cannot be recorded either, so there may be no Ack.
  EXPECT_EQ(source.Close(), 1);
  EXPECT_TRUE(absl::StrContains(source.Complaint(), "remount"));
  EXPECT_TRUE(absl::StrContains(Refusal(ScriptedSource::DefaultHello()), "remount"));
  ASSERT_TRUE(os::testing::RunCommand({"mount", "-o", "remount,rw", filesystem_->path()}).ok());
  ScriptedSource again(root_);
  const auto reply = again.Greet();
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(reply->refusal, "");
  EXPECT_EQ(reply->begun, 2u);
  EXPECT_EQ(reply->durable, 1u);
  EXPECT_EQ(Read("f"), "old");
  again.Close();
}

TEST_P(OnFilesystem, KilledInABatchEveryFileIsWhole) {
  Mount(ScopedFilesystem::kDefaultBytes);
  std::uint64_t number = 0;
  const std::string content(300'000, '.');
  for (int round = 0; round < 8; ++round) {
    ScriptedSource source(root_);
    const auto reply = source.Greet();
    ASSERT_TRUE(reply.has_value());
    ASSERT_EQ(reply->refusal, "");
    EXPECT_EQ(reply->begun, number);
    EXPECT_LE(reply->durable, reply->begun);
    source.Begin(++number);
    source.Put("acked" + std::to_string(round), "a");
    source.EndAndWait();
    EXPECT_EQ(Names(".fanmirror").count(absl::StrCat("at.", number, ".", number)), 1u);
    source.Begin(++number);
    for (int i = 0; i < 20 + round; ++i)
      source.Put("f" + std::to_string(i % 5), std::to_string(number) + content);
    source.BeginPut("f0", {});
    source.Data(0, "half");
    EXPECT_TRUE(source.Ping(3));
    source.Kill(SIGKILL);
    EXPECT_FALSE(Names(".fanmirror/staging").empty());
    for (int i = 0; i < 5; ++i)
      EXPECT_TRUE(Read("f" + std::to_string(i)) == std::to_string(number) + content);
  }
  ScriptedSource source(root_);
  ASSERT_TRUE(source.Greet().has_value());
  EXPECT_TRUE(Names(".fanmirror/staging").empty());
  for (int round = 0; round < 8; ++round) EXPECT_EQ(Read("acked" + std::to_string(round)), "a");
}

TEST_P(OnFilesystem, WhatTheRootBequeathsIsNotInherited) {
  Mount(ScopedFilesystem::kDefaultBytes);
  ASSERT_EQ(mkdir(root_.c_str(), 0755), 0);
  ASSERT_EQ(chown(root_.c_str(), 0, 1234), 0);
  ASSERT_EQ(chmod(root_.c_str(), 02775), 0);
  ASSERT_TRUE(os::testing::RunCommand({"setfacl", "-d", "-m", "u:1000:rwx", root_}).ok());
  ScriptedSource source(root_);
  ASSERT_TRUE(source.Greet().has_value());
  source.Begin(1);
  model::Metadata metadata;
  metadata.mode = 0640;
  source.Put("f", "x", metadata);
  source.Directory("d");
  EXPECT_TRUE(source.EndAndWait().failures.empty());
  struct stat st {};
  ASSERT_EQ(stat((root_ + "/f").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0640u);
  EXPECT_EQ(st.st_gid, 0u);
  ASSERT_EQ(stat((root_ + "/d").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0755u);
  EXPECT_EQ(st.st_gid, 0u);
}

INSTANTIATE_TEST_SUITE_P(On, OnFilesystem, ::testing::ValuesIn(os::testing::AllFilesystems()),
                         [](const auto& parameter) { return parameter.param; });

}  // namespace
}  // namespace fanmirror::apply
