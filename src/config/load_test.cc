#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <sstream>

#include "config/config.h"
#include "config/limits.h"
#include "config/sandbox_test.h"
#include "model/failure.h"

namespace fanmirror::config {
namespace {

using select::Rule;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::StartsWith;

// The file's name in messages; exclude_from is beside it.
std::string FileName(const Sandbox& sandbox) { return sandbox.path() + "/f.toml"; }

std::string ErrorOf(const Sandbox& sandbox, const std::string& text) {
  const auto config = Parse(text, FileName(sandbox));
  if (config.ok()) return "no error";
  EXPECT_EQ(model::ReactionOf(config.status()), model::Reaction::kHaltJob);
  return std::string(config.status().message());
}

TEST(ParseTest, ReadsEveryKey) {
  const Sandbox sandbox;
  const auto config = Parse(sandbox.Fill(R"(
[daemon]
state_dir = "~/state//x/"
control_socket = "~/c.sock"
bounded_queue = true

[[job]]
name = "uploads"
source = "~/src/./"
exclude_from = ["rules", "~/rules"]
exclude = ["*.tmp", "+ a", "/cache/"]
filter = ["- x", "+! y", "", "# nothing"]
include = ["i"]
settle = "0ms"
max_delay = "2m"
delete = "startup"
audit = "90m"
audit_content = true

[[job.target]]
name = "dr1"
host = "backup@dr1.example.org"
port = 2222
path = "/srv//uploads/"
identity_file = "/etc/key"
known_hosts = "/etc/hosts"
receiver = "/opt/fanmirror"
bandwidth_limit = "50MiB/s"
adopt = true

[[job.target]]
name = "local"
path = "~/mirror"

[[job]]
name = "second"
source = "~/src2"
delete = false
audit = "off"
[[job.target]]
name = "dr1"
host = "::1"
path = "/srv/second"
)"),
                            FileName(sandbox));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->state_dir, sandbox.path() + "/state/x");
  EXPECT_EQ(config->control_socket, sandbox.path() + "/c.sock");
  EXPECT_TRUE(config->bounded_queue);
  ASSERT_THAT(config->jobs, SizeIs(2));
  const Job& job = config->jobs[0];
  EXPECT_EQ(job.name, "uploads");
  EXPECT_EQ(job.source, sandbox.path() + "/src");
  EXPECT_THAT(job.rules,
              ElementsAre(Rule{.include = true, .pattern = "i"}, Rule{.pattern = "x"},
                          Rule{.include = true, .pattern = "y", .negated = true}, Rule{.pattern = "*.tmp"},
                          Rule{.include = true, .pattern = "a"}, Rule{.pattern = "/cache/"},
                          Rule{.pattern = "*.o"}, Rule{.include = true, .pattern = "keep"},
                          Rule{.pattern = "*.o"}, Rule{.include = true, .pattern = "keep"}));
  EXPECT_TRUE(job.filter.Excludes("x", false));
  EXPECT_FALSE(job.filter.Excludes("i", false));
  EXPECT_EQ(job.settle, absl::ZeroDuration());
  EXPECT_EQ(job.max_delay, absl::Minutes(2));
  EXPECT_EQ(job.delete_policy, DeletePolicy::kStartup);
  EXPECT_EQ(job.audit, absl::Minutes(90));
  EXPECT_TRUE(job.audit_content);
  ASSERT_THAT(job.targets, SizeIs(2));
  const Target& target = job.targets[0];
  EXPECT_EQ(target.name, "dr1");
  EXPECT_EQ(target.user, "backup");
  EXPECT_EQ(target.host, "dr1.example.org");
  EXPECT_EQ(target.port, 2222);
  EXPECT_EQ(target.path, "/srv/uploads");
  EXPECT_EQ(target.identity_file, "/etc/key");
  EXPECT_EQ(target.known_hosts, "/etc/hosts");
  EXPECT_EQ(target.receiver, "/opt/fanmirror");
  EXPECT_EQ(target.bandwidth_limit, 50u << 20);
  EXPECT_TRUE(target.adopt);
  EXPECT_EQ(job.targets[1].host, "");
  EXPECT_EQ(job.targets[1].path, sandbox.path() + "/mirror");
  EXPECT_EQ(config->jobs[1].delete_policy, DeletePolicy::kNever);
  EXPECT_EQ(config->jobs[1].audit, absl::ZeroDuration());
  EXPECT_EQ(config->jobs[1].targets[0].user, std::nullopt);
  EXPECT_EQ(config->jobs[1].targets[0].host, "::1");
}

TEST(ParseTest, DefaultsAreThoseOfTheStructs) {
  const Sandbox sandbox;
  const auto config =
      Parse(sandbox.Fill("[[job]]\nname='a'\nsource='~/src'\n[[job.target]]\nname='t'\npath='~/mirror'"),
            FileName(sandbox));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->state_dir, "/var/lib/fanmirror");
  EXPECT_EQ(config->control_socket, "/run/fanmirror/control.sock");
  EXPECT_FALSE(config->bounded_queue);
  const Job& job = config->jobs[0];
  EXPECT_EQ(job.settle, absl::Milliseconds(100));
  EXPECT_EQ(job.max_delay, absl::Seconds(1));
  EXPECT_EQ(job.delete_policy, DeletePolicy::kAlways);
  EXPECT_EQ(job.audit, absl::Hours(24));
  EXPECT_FALSE(job.audit_content);
  EXPECT_TRUE(job.filter.empty());
  EXPECT_EQ(job.targets[0].port, std::nullopt);
  EXPECT_EQ(job.targets[0].receiver, "fanmirror");
  EXPECT_EQ(job.targets[0].bandwidth_limit, 0u);
  EXPECT_FALSE(job.targets[0].adopt);
}

struct Bad {
  std::string text;     // '~' is the sandbox
  std::string message;  // behind the file's name
};

// A job that is right but for `job_line` and `target_line`, which stand at line 4 and 8.
std::string WithLines(const std::string& job_line, const std::string& target_line = "") {
  return absl::StrCat("[[job]]\nname = 'a'\nsource = '~/src'\n", job_line,
                      "\n[[job.target]]\nname = 't'\npath = '~/mirror'\n", target_line, "\n");
}

// Likewise with the name, the source, and the target's name and path given.
std::string WithNames(const std::string& job, const std::string& source, const std::string& target,
                      const std::string& path) {
  return absl::StrCat("[[job]]\nname = '", job, "'\nsource = '", source, "'\n[[job.target]]\nname = '",
                      target, "'\npath = '", path, "'\n");
}

void ExpectMessages(const std::vector<Bad>& table) {
  const Sandbox sandbox;
  for (const Bad& bad : table) {
    EXPECT_EQ(ErrorOf(sandbox, sandbox.Fill(bad.text)), FileName(sandbox) + sandbox.Fill(bad.message))
        << bad.text;
  }
}

TEST(ParseTest, NamesUnknownAndMissingKeys) {
  ExpectMessages({
      {"", ":1:1: there is no job; add [[job]] with name, source and [[job.target]]"},
      {"[deamon]\n", ":1:2: unknown key 'deamon' in the file; did you mean 'daemon'?"},
      {"x = 1\n", ":1:1: unknown key 'x' in the file; the keys there are daemon, job"},
      {"[daemon]\nstatedir = 'x'\n", ":2:1: unknown key 'statedir' in [daemon]; did you mean 'state_dir'?"},
      {WithLines("  exlude = []"), ":4:3: unknown key 'exlude' in [[job]]; did you mean 'exclude'?"},
      {WithLines("zz = 1\nexcludefrom = 1"),
       ":4:1: unknown key 'zz' in [[job]]; the keys there are name, source, "
       "include, filter, exclude, exclude_from, settle, max_delay, delete, target, max_delete, audit, audit_content"},
      {WithLines("", "bandwith_limit = 3"),
       ":8:1: unknown key 'bandwith_limit' in [[job.target]]; did you mean 'bandwidth_limit'?"},
      {WithLines("\"a\\nb\" = 1"),
       ":4:1: unknown key 'a\\x0ab' in [[job]]; the keys there are name, source, include, "
       "filter, exclude, exclude_from, settle, max_delay, delete, target, max_delete, audit, audit_content"},
      {"[[job]]\nsource = '~/src'\n", ":1:1: [[job]] has no name; add name = \"...\""},
      {"\n[[job]]\nname = 'a'\n", ":2:1: [[job]] has no source; add source = \"/...\""},
      {"[[job]]\nname='a'\nsource='~/src'\n",
       ":1:1: job 'a' has no target; add [[job.target]] with name and path"},
      {"[[job]]\nname='a'\nsource='~/src'\n[[job.target]]\npath='~/mirror'\n",
       ":4:1: [[job.target]] has no name; add name = \"...\""},
      {"[[job]]\nname='a'\nsource='~/src'\n[[job.target]]\nname='t'\n",
       ":4:1: [[job.target]] has no path; add path = \"/...\""},
  });
}

TEST(ParseTest, NamesWrongTypes) {
  ExpectMessages({
      {"daemon = 1\n", ":1:10: daemon is an integer; write [daemon] before its keys"},
      {"[job]\nname = 'a'\n", ":1:1: job is a table; write [[job]] before its keys"},
      {"job = [1]\n", ":1:8: job holds an integer; write [[job]] before its keys"},
      {"[[job]]\nname='a'\nsource='~/src'\n[job.target]\nname='t'\n",
       ":4:1: target is a table; write [[job.target]] before its keys"},
      {"[daemon]\nstate_dir = true\n", ":2:13: state_dir is a boolean; write state_dir = \"...\""},
      {WithLines("settle = 100"), ":4:10: settle is an integer; write settle = \"...\""},
      {WithLines("delete = 'yes'"),
       ":4:10: delete is none of its values; write true, false, \"startup\" or \"running\""},
      {WithLines("delete = 1"),
       ":4:10: delete is none of its values; write true, false, \"startup\" or \"running\""},
      {WithLines("exclude = '*.tmp'"), ":4:11: exclude is a string; write exclude = [\"...\", \"...\"]"},
      {WithLines("exclude = ['a', 1]"),
       ":4:17: exclude holds an integer; write exclude = [\"...\", \"...\"]"},
      {WithLines("exclude_from = 1.5"),
       ":4:16: exclude_from is a floating-point number; write exclude_from = [\"...\", \"...\"]"},
      {WithLines("", "port = '22'"), ":8:8: port is a string; write port = a number, without quotes"},
      {WithLines("", "port = 99999999999"),
       ":8:8: port 99999999999 is out of range; choose a smaller number"},
      {WithLines("audit_content = 'yes'"),
       ":4:17: audit_content is a string; write audit_content = true or false"},
      {WithLines("audit = false"), ":4:9: audit is a boolean; write audit = \"...\""},
      {WithLines("", "adopt = 'yes'"), ":8:9: adopt is a string; write adopt = true or false"},
      {WithLines("", "receiver = 2026-11-23"), ":8:12: receiver is a date or time; write receiver = \"...\""},
  });
}

TEST(ParseTest, NamesImpossibleValues) {
  const std::string no_duration =
      " is no duration; write a whole number and ms, s, m or h, such as \"100ms\"";
  const std::string no_rate =
      " is no rate; write a whole number and B/s, kB/s, MB/s, GB/s, KiB/s, MiB/s or GiB/s, such as "
      "\"50MiB/s\"";
  ExpectMessages({
      {WithLines("settle = '5'"), ":4:10: settle '5'" + no_duration},
      {WithLines("settle = ''"), ":4:10: settle ''" + no_duration},
      {WithLines("max_delay = '-1s'"), ":4:13: max_delay '-1s'" + no_duration},
      {WithLines("max_delay = '99999999999h'"), ":4:13: max_delay '99999999999h'" + no_duration},
      {WithLines("max_delay = '2h'"), ":4:13: max_delay 2h is not between 0ms and 1h; choose one that is"},
      {WithLines("audit = 'never'"), ":4:9: audit 'never'" + no_duration},
      {WithLines("audit = '0s'"), ":4:9: audit is not between 1ms and 8760h; write such a time, or \"off\""},
      {WithLines("audit = '9000h'"), ":4:9: audit is not between 1ms and 8760h; write such a time, or \"off\""},
      {WithLines("settle = '5s'"),
       ":4:10: settle 5s is longer than max_delay 1s; lower settle or raise max_delay"},
      {WithLines("max_delay = '50ms'"),
       ":1:1: settle 100ms is longer than max_delay 50ms; lower settle or raise max_delay"},
      {WithLines("", "bandwidth_limit = '50'"), ":8:19: bandwidth_limit '50'" + no_rate},
      {WithLines("", "bandwidth_limit = '0MB/s'"),
       ":8:19: bandwidth_limit is zero; raise it, or remove it for no limit"},
      {WithLines("", "bandwidth_limit = '10B/s'"),
       ":8:19: bandwidth_limit of 10 bytes a second is below 1024; raise it, or remove it for no limit"},
      {WithLines("", "host = 'h'\nport = 0"), ":9:8: port 0 is not between 1 and 65535; choose one that is"},
      {WithLines("", "host = 'h'\nport = 65536"),
       ":9:8: port 65536 is not between 1 and 65535; choose one that is"},
      {WithLines("", "port = 22"), ":8:8: port is for targets on a host; add host, or remove port"},
      {WithLines("", "identity_file = '/k'"),
       ":8:17: identity_file is for targets on a host; add host, or remove identity_file"},
      {WithLines("", "host = 'h'\nidentity_file = 'k'"),
       ":9:17: identity_file 'k' is a relative path; begin it with '/'"},
      {WithLines("", "host = 'h'\nreceiver = ''"),
       ":9:12: receiver is empty; name the command on the far side"},
      {WithLines("", "host = ''"),
       ":8:8: host '' names no host; write \"USER@HOST\" or \"HOST\", or remove it for a "
       "local directory"},
      {WithLines("", "host = 'h:22'"),
       ":8:8: host 'h:22' holds a port or a path; write those as port = ... and path = ..."},
      {WithLines("", "host = '-oProxyCommand=x'"),
       ":8:8: host '-oProxyCommand=x' is no host name or address; write \"USER@HOST\" or \"HOST\""},
      {WithLines("", "host = '[::1]'"),
       ":8:8: host '[::1]' has brackets; write the IPv6 address without them"},
      {WithLines("exclude = ['a', '']"),
       ":4:17: filter rule '': the pattern is missing; write one after the '+' or '-' and a space"},
      {WithLines("exclude = ['!']"),
       ":4:12: filter rule '!': clearing the rules before it is not supported; remove "
       "those rules instead"},
      {WithLines("filter = ['- a', 'merge x']"),
       ":4:18: filter rule 'merge x': merge files are not supported; write "
       "their rules here, or name the file in exclude_from"},
      {WithLines("exclude = [\"a\\u0000b\"]"),
       ":1:1: pattern 'a\\x00b' holds a NUL byte, which no file name has; "
       "remove it"},
      {WithLines("exclude_from = 'nothing'"),
       ":4:16: exclude_from: open '~/nothing': No such file or directory; "
       "create it, make it readable, or name another file"},
      {WithLines("exclude_from = ['rules', 'bad-rules']"),
       ":4:26: in '~/bad-rules': filter rule '!': clearing "
       "the rules before it is not supported; remove those rules instead"},
  });
}

TEST(ParseTest, NamesUnfitNamesAndPaths) {
  const std::string unfit =
      " has characters that do not fit a directory's name; use letters, digits, '.', '_' and '-'";
  ExpectMessages({
      {WithNames("", "~/src", "t", "~/mirror"), ":2:8: job name is empty; give it one"},
      {WithNames("a b", "~/src", "t", "~/mirror"), ":2:8: job name 'a b'" + unfit},
      {WithNames("a/b", "~/src", "t", "~/mirror"), ":2:8: job name 'a/b'" + unfit},
      {WithNames("\xc3\xa9", "~/src", "t", "~/mirror"), ":2:8: job name '\xc3\xa9'" + unfit},
      {WithNames(".a", "~/src", "t", "~/mirror"),
       ":2:8: job name '.a' begins with '.'; begin it with another character"},
      {WithNames(std::string(65, 'a'), "~/src", "t", "~/mirror"),
       ":2:8: job name '" + std::string(65, 'a') + "' is longer than 64 characters; shorten it"},
      {WithNames("a", "~/src", "", "~/mirror"), ":5:8: target name is empty; give it one"},
      {WithNames("a", "~/src", "..", "~/mirror"),
       ":5:8: target name '..' begins with '.'; begin it with another character"},
      {WithNames("a", "", "t", "~/mirror"), ":3:10: source is empty; write an absolute path"},
      {WithNames("a", "src", "t", "~/mirror"), ":3:10: source 'src' is a relative path; begin it with '/'"},
      {WithNames("a", "~/x/../src", "t", "~/mirror"),
       ":3:10: source '~/x/../src' has '..' in it; write the path without"},
      {WithNames("a", "~/file", "t", "~/mirror"),
       ":3:10: source '~/file' is not a directory; name a directory"},
      {WithNames("a", "~/src", "t", "mirror"), ":6:8: path 'mirror' is a relative path; begin it with '/'"},
      {WithNames("a", "~/src", "t", "~/file"),
       ":6:8: path '~/file' is not a directory; name a directory or one to be made"},
      {"[daemon]\nstate_dir='x'\n", ":2:11: state_dir 'x' is a relative path; begin it with '/'"},
      {"[daemon]\ncontrol_socket='/" + std::string(107, 'x') + "'\n",
       ":2:16: control_socket is longer than 107 bytes, the most that a socket's path can have; shorten it"},
  });
}

TEST(ParseTest, NamesClashes) {
  const std::string a = WithNames("a", "~/src", "t", "~/mirror");
  ExpectMessages({
      {a + WithNames("a", "~/src2", "t", "~/mirror2"), ":8:8: job name 'a' is used twice; choose another"},
      {a + "[[job.target]]\nname = 't'\npath = '~/mirror2'\n",
       ":8:8: target name 't' is used twice in job 'a'; choose another"},
      {a + "[[job.target]]\nname = 'u'\npath = '~//mirror/'\n",
       ":9:8: path '~/mirror' is the same directory as that of target 't' of job 'a'; give each target a "
       "directory of "
       "its own"},
      {a + WithNames("b", "~/src2", "t", "~/mirror/sub"),
       ":12:8: path '~/mirror/sub' is inside that of target 't' of job 'a'; give each target a directory of "
       "its own"},
      {WithLines("", "host = 'H'") + WithNames("b", "~/src2", "t", "~/mirror") + "host='u@h'\nport=22\n",
       ":14:8: path '~/mirror' is the same directory as that of target 't' of job 'a'; give each target a "
       "directory of "
       "its own"},
      {WithNames("a", "~/src", "t", "~/src"),
       ":6:8: path '~/src' is the source itself; choose another directory"},
      {WithNames("a", "~/src", "t", "~/src/new/x"),
       ":6:8: path '~/src/new/x' is inside its own source '~/src'; choose a directory outside of it"},
      {WithNames("a", "~/around/src", "t", "~/around"),
       ":6:8: the source '~/around/src' is inside path '~/around'; choose a directory beside it"},
      {WithNames("a", "~/src", "t", "~/src2") + WithNames("b", "~/src2", "t", "~/src/inner"),
       ":3:10: source '~/src' gets back what this job sends, through the target of job 'b'; remove one of "
       "the jobs of "
       "this loop"},
      {WithNames("a", "~/src", "t", "~/src2/x") + WithNames("b", "~/src2", "t", "~/mirror") +
           WithNames("c", "~/mirror", "t", "~/src/inner"),
       ":3:10: source '~/src' gets back what this job sends, through the target of job 'c'; remove one of "
       "the jobs of "
       "this loop"},
      {"[daemon]\nstate_dir = '~/src/state'\n" + a,
       ":2:13: state_dir '~/src/state' is inside the source of job 'a'; move it, or exclude it there"},
      {"[daemon]\nstate_dir = '~/mirror/state'\n" + a,
       ":2:13: state_dir '~/mirror/state' is inside target 't' of job 'a'; move it"},
  });
}

TEST(ParseTest, TakesWhatOnlyLooksLikeAClash) {
  const Sandbox sandbox;
  const std::string a = WithNames("a", "~/src", "t", "~/src2/copy");
  for (const std::string& text :
       {a + WithNames("b", "~/src2", "t", "~/mirror"),           // a chain
        a + WithNames("b", "~/mirror", "t", "~/src2/copy2"),     // two into one source
        WithNames("a", "~/src", "t", "~/src-copy"),              // a prefix, but of the name
        WithNames("a", "~/src", "t", "~/src") + "host = 'h'\n",  // the same path, elsewhere
        WithLines("", "host = 'h'") + WithNames("b", "~/src", "t", "~/mirror") + "host = 'h2'\n",
        WithLines("", "host = 'h'") + WithNames("b", "~/src", "t", "~/mirror") + "host = 'h'\nport = 2222\n",
        "[daemon]\nstate_dir = '~/src/state'\n" + WithLines("exclude = ['/state/']")}) {
    EXPECT_EQ(ErrorOf(sandbox, sandbox.Fill(text)), "no error") << text;
  }
}

TEST(ParseTest, NonsenseIsAnErrorOnOneLine) {
  const Sandbox sandbox;
  std::string dotted = "a";
  for (int i = 0; i < 200000; ++i) dotted += ".a";
  std::string tables;
  for (int i = 0; i < 300000; ++i) tables += "{a=";
  std::string rows;
  for (int i = 0; i < 2000; ++i) rows += "[\n";
  const std::vector<std::string> texts = {"[[job",
                                          "job = ",
                                          "\xff\xfe",
                                          "name = '\xc3'",
                                          std::string("a\0b = 1", 7),
                                          "a = \"\\q\"",
                                          "a = \"x\ny\"",
                                          "[a]\n[a]\n",
                                          "a = 1\na = 2\n",
                                          "\xef\xbb\xbf[[job",
                                          "=",
                                          "a = 1e999999",
                                          "a = 0x",
                                          "a = 1979-99-99",
                                          "a = [1, [2, {b = 3",
                                          "[" + dotted + "]",
                                          dotted + " = 1",
                                          "a = " + tables,
                                          "a = " + rows,
                                          std::string(100000, '['),
                                          std::string(kMaxFileBytes + 1, ' '),
                                          std::string(kMaxFileBytes, '\0'),
                                          "\"\"\"",
                                          "a = '''x",
                                          "\r",
                                          "a = \x7f"};
  for (const std::string& text : texts) {
    const std::string message = ErrorOf(sandbox, text);
    EXPECT_THAT(message, StartsWith(FileName(sandbox) + ":")) << text.substr(0, 40);
    EXPECT_THAT(message, HasSubstr("; ")) << text.substr(0, 40);
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
  EXPECT_EQ(ErrorOf(sandbox, "\n x = [" + rows),
            FileName(sandbox) + ":33:1: is nested more than 32 deep; name a fanmirror configuration");
  EXPECT_EQ(ErrorOf(sandbox, "x = '''\n.''' # [.\n" + dotted + " = 1"),
            FileName(sandbox) + ":3:66: is nested more than 32 deep; name a fanmirror configuration");
}

TEST(ParseTest, DotsAndBracketsInStringsAndCommentsDoNotCount) {
  const Sandbox sandbox;
  std::string many;
  for (int i = 0; i < 50; ++i) many += "[{.";
  const std::string lines = "exclude = [\"" + many + "\\\"" + many + "\", '" + many + "', '''\n" + many +
                            "''''', \"\"\"\n" + many + "\\\"\"\"\"] # " + many + " ' \"";
  EXPECT_EQ(ErrorOf(sandbox, sandbox.Fill(WithLines(lines))), "no error");
}

TEST(ParseTest, ManyTargetsAreNoDeepNesting) {
  const Sandbox sandbox;
  std::string text = WithLines("");
  for (std::size_t i = 0; i < 2 * kMaxNesting; ++i) {
    absl::StrAppend(&text, "[[job.target]]\nname = 'n", i, "'\npath = '~/new", i, "'\n");
  }
  EXPECT_EQ(ErrorOf(sandbox, sandbox.Fill(text)), "no error");
  for (std::size_t i = 0; i < kMaxTargets; ++i) text += "[[job.target]]\n";
  EXPECT_EQ(ErrorOf(sandbox, sandbox.Fill(text)),
            FileName(sandbox) + ":5:1: a job has more than 100 targets; split it");
}

TEST(LoadTest, NamesAFileThatCannotBeRead) {
  const Sandbox sandbox;
  const auto message = [](const std::string& file) { return std::string(Load(file).status().message()); };
  EXPECT_EQ(message(sandbox.path() + "/none"),
            sandbox.Fill(
                "~/none:1:1: open '~/none': No such file or directory; create it, make it readable, or name "
                "another file"));
  EXPECT_EQ(message(sandbox.path()), sandbox.Fill("~:1:1: read '~': Is a directory; name a readable file"));
  EXPECT_THAT(message("/dev/zero"), HasSubstr("File too large; keep it below 1048576 bytes"));
}

std::string Example(const Sandbox& sandbox) {
  std::ifstream file(FANMIRROR_EXAMPLE);
  std::stringstream text;
  text << file.rdbuf();
  return absl::StrReplaceAll(text.str(),
                             {{"source = \"/srv/uploads\"", "source = \"" + sandbox.path() + "/src\""},
                              {"/mnt/usb", sandbox.path()},
                              {"/var/lib/fanmirror", sandbox.path() + "/state"}});
}

TEST(LoadTest, TheExampleIsRight) {
  const Sandbox sandbox;
  sandbox.Write("example.toml", Example(sandbox));
  const auto config = Load(sandbox.path() + "/example.toml");
  ASSERT_TRUE(config.ok()) << config.status();
  ASSERT_THAT(config->jobs, SizeIs(1));
  EXPECT_THAT(config->jobs[0].targets, SizeIs(2));
  EXPECT_TRUE(config->jobs[0].filter.ExcludesWithParents("x/trash/keep.tmp", false));
  EXPECT_FALSE(config->jobs[0].filter.ExcludesWithParents("x/keep.tmp", false));
}

TEST(LoadTest, MutationsOfTheExampleNeverCrash) {
  const Sandbox sandbox;
  const std::string example = Example(sandbox);
  ASSERT_FALSE(example.empty());
  constexpr std::uint64_t kSeeds = 3000;
  int errors = 0;
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    std::mt19937_64 random(seed);
    const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
    std::string text = example;
    for (std::size_t n = 1 + below(4); n > 0; --n) {
      const std::size_t at = below(text.size());
      const std::size_t length = std::min(1 + below(12), text.size() - at);
      switch (below(4)) {
        case 0:
          text[at] = static_cast<char>(below(256));
          break;
        case 1:
          text.erase(at, length);
          break;
        case 2:
          text.insert(below(text.size()), text.substr(at, length));
          break;
        default:
          text.insert(at, 1, "[]{}\"'=.,#\n\\-1 "[below(15)]);
      }
    }
    const std::string message = ErrorOf(sandbox, text);
    if (message == "no error") continue;
    ++errors;
    EXPECT_THAT(message, StartsWith(FileName(sandbox) + ":"));
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
  EXPECT_GT(errors, 500);
}

// Its filesystem may only not be mounted yet: what else the file says still holds.
TEST(LoadTest, AMissingSourceIsToldButNotRefused) {
  const Sandbox sandbox;
  const auto missing = Parse(sandbox.Fill(WithNames("a", "~/none", "t", "~/mirror")), "file");
  ASSERT_TRUE(missing.ok()) << missing.status();
  EXPECT_EQ(missing->jobs[0].source_missing,
            sandbox.Fill("source '~/none' does not exist; create it or correct the path"));
  const auto unreachable = Parse(sandbox.Fill(WithNames("a", "~/file/x", "t", "~/mirror")), "file");
  ASSERT_TRUE(unreachable.ok()) << unreachable.status();
  EXPECT_EQ(unreachable->jobs[0].source_missing,
            sandbox.Fill("source: realpath '~/file/x': Not a directory; make it reachable or correct the path"));
  const auto there = Parse(sandbox.Fill(WithNames("a", "~/src", "t", "~/mirror")), "file");
  ASSERT_TRUE(there.ok()) << there.status();
  EXPECT_EQ(there->jobs[0].source_missing, "");
  EXPECT_FALSE(Parse(sandbox.Fill(WithNames("a", "~/none", "t", "~/none/inside")), "file").ok());
}

}  // namespace
}  // namespace fanmirror::config
