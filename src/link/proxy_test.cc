#include "link/proxy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fanmirror::link {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

Destination Through(const std::string& command) {
  return {.alias = "dr1", .host = "dr1.example.org", .port = 2222, .user = "root", .proxy_command = command};
}

TEST(ExpandProxyCommandTest, ReplacesTokens) {
  auto command = ExpandProxyCommand({}, Through("nc -x %n %h %p # %r 100%%"));
  ASSERT_TRUE(command.ok());
  EXPECT_EQ(*command, "nc -x dr1 dr1.example.org 2222 # root 100%");
}

TEST(ExpandProxyCommandTest, RefusesWhatItDoesNotKnow) {
  EXPECT_THAT(ExpandProxyCommand({}, Through("nc %C")).status().message(), HasSubstr("%h, %n, %p, %r"));
  EXPECT_FALSE(ExpandProxyCommand({}, Through("nc %")).ok());
}

TEST(ExpandProxyCommandTest, AJumpGetsTheGivenFiles) {
  SshOptions options;
  options.identity_files = {"/etc/my keys/100%h"};
  options.known_hosts = "/etc/known hosts";
  auto command = ExpandProxyCommand(options, Through("ssh -l me -p 22 -W '[%h]:%p' jump"));
  ASSERT_TRUE(command.ok());
  EXPECT_THAT(*command, AllOf(HasSubstr("-i '/etc/my keys/100%%h'"), HasSubstr("-o IdentitiesOnly=yes"),
                              HasSubstr("'UserKnownHostsFile=\"/etc/known hosts\"'"),
                              HasSubstr("-l me -p 22 -W '[dr1.example.org]:2222' jump")));
}

TEST(ExpandProxyCommandTest, AnotherCommandGetsNone) {
  SshOptions options;
  options.known_hosts = "/etc/known_hosts";
  auto command = ExpandProxyCommand(options, Through("ssh -W %h:%p jump"));
  ASSERT_TRUE(command.ok());
  EXPECT_EQ(*command, "ssh -W dr1.example.org:2222 jump");
}

}  // namespace
}  // namespace fanmirror::link
