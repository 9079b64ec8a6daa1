#include "cli/mirror_arguments.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "os/testing/filesystem.h"

namespace fanmirror::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using Selector = MirrorArguments::Selector;

class ConfigOfTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto directory = os::testing::ScopedDirectory::Create();
    ASSERT_TRUE(directory.ok()) << directory.status();
    directory_ = *std::move(directory);
    ASSERT_EQ(::mkdir(At("source").c_str(), 0755), 0);
    arguments_.source = At("source");
    arguments_.destination = At("target");
  }
  std::string At(const std::string& name) const { return directory_->path() + "/" + name; }
  config::Config Config() {
    auto config = ConfigOf(arguments_);
    EXPECT_TRUE(config.ok()) << config.status();
    return config.ok() ? *config : config::Config{.state_dir = "", .control_socket = "", .jobs = {{}}};
  }
  std::string Error() { return std::string(ConfigOf(arguments_).status().message()); }

  std::unique_ptr<os::testing::ScopedDirectory> directory_;
  MirrorArguments arguments_;
};

TEST_F(ConfigOfTest, MakesOneJobWithOneTarget) {
  arguments_.settle = "0ms";
  arguments_.max_delay = "2s";
  arguments_.delete_policy = "startup";
  arguments_.bandwidth_limit = "1MB/s";
  arguments_.adopt = true;
  const config::Config config = Config();
  ASSERT_EQ(config.jobs.size(), 1u);
  const config::Job& job = config.jobs[0];
  EXPECT_EQ(job.source, At("source"));
  EXPECT_EQ(job.settle, absl::ZeroDuration());
  EXPECT_EQ(job.max_delay, absl::Seconds(2));
  EXPECT_EQ(job.delete_policy, config::DeletePolicy::kStartup);
  ASSERT_EQ(job.targets.size(), 1u);
  EXPECT_EQ(job.targets[0].path, At("target"));
  EXPECT_EQ(job.targets[0].host, "");
  EXPECT_EQ(job.targets[0].bandwidth_limit, 1000000u);
  EXPECT_TRUE(job.targets[0].adopt);
  EXPECT_EQ(config.control_socket, config.state_dir + "/control.sock");
}

TEST_F(ConfigOfTest, FindsTheSameStateAgainHoweverThePathsAreWritten) {
  const std::string first = Config().state_dir;
  EXPECT_THAT(first, StartsWith("/var/lib/fanmirror/mirror/"));
  arguments_.source = At("source/");
  arguments_.destination = At("./target/");
  EXPECT_EQ(Config().state_dir, first);
  arguments_.destination = At("other");
  EXPECT_NE(Config().state_dir, first);
  arguments_.destination = "dr1:" + At("target");
  EXPECT_NE(Config().state_dir, first);
}

TEST_F(ConfigOfTest, TakesStateDirAndSocketAsGiven) {
  arguments_.state_dir = At("state/");
  arguments_.socket = At("c.sock");
  EXPECT_EQ(Config().state_dir, At("state"));
  EXPECT_EQ(Config().control_socket, At("c.sock"));
}

TEST_F(ConfigOfTest, KeepsTheOrderOfTheSelectors) {
  std::ofstream(At("patterns")) << "*.tmp\n+ keep\n";
  arguments_.selectors = {{Selector::Kind::kInclude, "a.log"},
                          {Selector::Kind::kExclude, "*.log"},
                          {Selector::Kind::kExcludeFrom, At("patterns")},
                          {Selector::Kind::kFilter, "- /cache/"}};
  const std::vector<select::Rule> rules = Config().jobs[0].rules;
  ASSERT_EQ(rules.size(), 5u);
  EXPECT_EQ(rules[0], (select::Rule{.include = true, .pattern = "a.log"}));
  EXPECT_EQ(rules[1], (select::Rule{.include = false, .pattern = "*.log"}));
  EXPECT_EQ(rules[2], (select::Rule{.include = false, .pattern = "*.tmp"}));
  EXPECT_EQ(rules[3], (select::Rule{.include = true, .pattern = "keep"}));
  EXPECT_EQ(rules[4], (select::Rule{.include = false, .pattern = "/cache/"}));
}

TEST_F(ConfigOfTest, RefusesInOneLine) {
  const MirrorArguments good = arguments_;
  arguments_.source = At("missing");
  EXPECT_THAT(Error(), HasSubstr("name an existing directory"));
  arguments_ = good;
  arguments_.destination = At("source/inside");
  EXPECT_NE(Error(), "");
  arguments_ = good;
  arguments_.delete_policy = "maybe";
  EXPECT_THAT(Error(), HasSubstr("--delete 'maybe' is unknown"));
  arguments_ = good;
  arguments_.selectors = {{Selector::Kind::kExcludeFrom, At("nothing")}};
  EXPECT_THAT(Error(), HasSubstr("name a readable file"));
  arguments_ = good;
  arguments_.destination = "dr1:relative";
  EXPECT_THAT(Error(), HasSubstr("must be absolute"));
}

}  // namespace
}  // namespace fanmirror::cli
