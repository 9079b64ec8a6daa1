#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config/config.h"
#include "config/place.h"
#include "config/sandbox_test.h"
#include "config/values.h"

namespace fanmirror::config {
namespace {

using ::testing::HasSubstr;

Job MakeJob(const Sandbox& sandbox, std::string_view source, std::string_view target) {
  Job job;
  job.name = "a";
  job.source = sandbox.Fill(source);
  job.targets.emplace_back();
  job.targets.back().name = "t";
  job.targets.back().path = sandbox.Fill(target);
  return job;
}

std::string Checked(const Job& job) { return std::string(CheckJob(job).message()); }

TEST(CheckJobTest, IsOneLineWithoutAPlace) {
  const Sandbox sandbox;
  EXPECT_EQ(Checked(MakeJob(sandbox, "~/src", "~/new")), "");
  EXPECT_EQ(Checked(MakeJob(sandbox, "~/none", "~/new")),
            sandbox.Fill("source '~/none' does not exist; create it or correct the path"));
  EXPECT_EQ(
      Checked(MakeJob(sandbox, "~/src", "~/src/x")),
      sandbox.Fill("path '~/src/x' is inside its own source '~/src'; choose a directory outside of it"));
  EXPECT_EQ(Checked(MakeJob(sandbox, "/", "/new-directory")),
            "path '/new-directory' is inside its own source '/'; choose a directory outside of it");
  Job job = MakeJob(sandbox, "~/src", "~/new");
  job.targets.clear();
  EXPECT_EQ(Checked(job), "job 'a' has no target; add [[job.target]] with name and path");
}

TEST(CheckJobTest, SymlinksHideNothing) {
  const Sandbox sandbox;
  std::filesystem::create_directory_symlink(sandbox.path() + "/src", sandbox.path() + "/link");
  std::filesystem::create_directory_symlink(sandbox.path() + "/around", sandbox.path() + "/src2/out");
  std::filesystem::create_directory_symlink("/nowhere", sandbox.path() + "/dangling");
  EXPECT_THAT(Checked(MakeJob(sandbox, "~/src", "~/link")), HasSubstr("is the source itself"));
  EXPECT_THAT(Checked(MakeJob(sandbox, "~/link", "~/src/x/y")), HasSubstr("is inside its own source"));
  EXPECT_THAT(Checked(MakeJob(sandbox, "~/src", "~/link/inner/x")), HasSubstr("is inside its own source"));
  EXPECT_EQ(Checked(MakeJob(sandbox, "~/src2", "~/src2/out/x")), "");  // by name inside, in truth beside
  EXPECT_THAT(Checked(MakeJob(sandbox, "~/around/src", "~/src2/out")), HasSubstr("is inside path"));
  EXPECT_THAT(Checked(MakeJob(sandbox, "~/src", "~/dangling/x")), HasSubstr("No such file or directory"));
}

// In a mount namespace of its own: 0 when all is as expected, otherwise the number of the step that is not.
int BindMountSteps(const Sandbox& sandbox) {
  const auto bind = [&](const char* from, const char* to) {
    return mount(sandbox.Fill(from).c_str(), sandbox.Fill(to).c_str(), nullptr, MS_BIND | MS_REC, nullptr) ==
           0;
  };
  if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return 1;
  if (!bind("~/src", "~/mirror")) return 2;
  if (Checked(MakeJob(sandbox, "~/src", "~/mirror")).find("is the source itself") == std::string::npos)
    return 3;
  if (Checked(MakeJob(sandbox, "~/src", "~/mirror/x")).find("inside its own source") == std::string::npos)
    return 4;
  if (Checked(MakeJob(sandbox, "~/mirror/inner", "~/src")).find("is inside path") == std::string::npos)
    return 5;
  // A mount of a part of the source, whose parents by name are elsewhere.
  std::filesystem::create_directory(sandbox.Fill("~/a b\\c"));
  if (!bind("~/src/inner", "~/a b\\c")) return 9;
  if (Checked(MakeJob(sandbox, "~/src", "~/a b\\c")).find("inside its own source") == std::string::npos)
    return 10;
  if (Checked(MakeJob(sandbox, "~/src", "~/a b\\c/x/y")).find("inside its own source") == std::string::npos)
    return 11;
  if (Checked(MakeJob(sandbox, "~/a b\\c", "~/src/inner")).find("is the source itself") == std::string::npos)
    return 12;
  if (!Checked(MakeJob(sandbox, "~/a b\\c", "~/src/other")).empty()) return 13;
  // Without the table of mounts, the identities of the parents tell; also past a directory that is mounted on
  // its own child and so has its parent's identity.
  std::filesystem::create_directories(sandbox.Fill("~/src/inner/deep"));
  if (umount(sandbox.Fill("~/mirror").c_str()) != 0 || !bind("~/src/inner", "~/src/inner/deep")) return 6;
  if (!bind("~/src", "~/mirror")) return 7;
  if (mount("none", "/proc", "tmpfs", 0, nullptr) != 0) return 8;
  if (Checked(MakeJob(sandbox, "~/src", "~/mirror/inner/deep/x")).find("inside its own source") ==
      std::string::npos) {
    return 14;
  }
  return 0;
}

TEST(CheckJobTest, BindMountsHideNothing) {
  if (geteuid() != 0) GTEST_SKIP() << "bind mounts need root";
  const Sandbox sandbox;
  const pid_t child = fork();
  if (child == 0) _exit(BindMountSteps(sandbox));
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0) << "step " << WEXITSTATUS(status);
}

TEST(ValuesTest, Durations) {
  EXPECT_EQ(ParseDuration("100ms").value(), absl::Milliseconds(100));
  EXPECT_EQ(ParseDuration("0ms").value(), absl::ZeroDuration());
  EXPECT_EQ(ParseDuration("1s").value(), absl::Seconds(1));
  EXPECT_EQ(ParseDuration("2m").value(), absl::Minutes(2));
  EXPECT_EQ(ParseDuration("1h").value(), absl::Hours(1));
  for (const char* text :
       {"", "s", "1", "1 s", " 1s", "1S", "1.5s", "+1s", "-1s", "1s ", "1d", "1000000000s", "inf"}) {
    EXPECT_FALSE(ParseDuration(text).ok()) << text;
  }
}

TEST(ValuesTest, Rates) {
  EXPECT_EQ(ParseRate("50MiB/s").value(), 50u << 20);
  EXPECT_EQ(ParseRate("10MB/s").value(), 10000000u);
  EXPECT_EQ(ParseRate("1KiB/s").value(), 1024u);
  EXPECT_EQ(ParseRate("2kB/s").value(), 2000u);
  EXPECT_EQ(ParseRate("999999999GiB/s").value(), 999999999ULL << 30);
  for (const char* text : {"", "50", "50MiB", "50 MiB/s", "50mb/s", "50Mbit/s", "1.5MB/s", "-1MB/s"}) {
    EXPECT_FALSE(ParseRate(text).ok()) << text;
  }
}

TEST(ValuesTest, Hosts) {
  EXPECT_EQ(ParseHost("h").value().name, "h");
  EXPECT_EQ(ParseHost("h").value().user, std::nullopt);
  EXPECT_EQ(ParseHost("root@h.example").value().user, "root");
  EXPECT_EQ(ParseHost("a@b@h").value().user, "a@b");
  EXPECT_EQ(ParseHost("fe80::1%eth0").value().name, "fe80::1%eth0");
  for (const char* text :
       {"", "@h", "u@", "-h", "u@-h", "h h", "h\n", "h/x", "h:/x", "u u@h", "-u@h", "[::1]", "h;x"}) {
    EXPECT_FALSE(ParseHost(text).ok()) << text;
  }
}

TEST(ValuesTest, NormalPaths) {
  EXPECT_EQ(NormalizePath("/a//b/./c/"), "/a/b/c");
  EXPECT_EQ(NormalizePath("///"), "/");
  EXPECT_EQ(NormalizePath("/."), "/");
  EXPECT_EQ(NormalizePath("a/./b"), "a/b");
  EXPECT_EQ(NormalizePath("./a"), "a");
  EXPECT_EQ(NormalizePath("/a/../b"), "/a/../b");
  EXPECT_EQ(NormalizePath(""), "");
}

TEST(ValuesTest, NearestWord) {
  constexpr std::string_view kWords[] = {"exclude", "exclude_from", "settle", "job"};
  EXPECT_EQ(Nearest("exlude", kWords), "exclude");
  EXPECT_EQ(Nearest("excludefrom", kWords), "exclude_from");
  EXPECT_EQ(Nearest("setle", kWords), "settle");
  EXPECT_EQ(Nearest("jobs", kWords), "job");
  EXPECT_EQ(Nearest("colour", kWords), "");
  EXPECT_EQ(Nearest("", kWords), "");
  EXPECT_EQ(Nearest(std::string(100000, 'x'), kWords), "");
}

}  // namespace
}  // namespace fanmirror::config
