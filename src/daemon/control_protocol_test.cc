#include "daemon/control_protocol.h"

#include <random>

#include "gtest/gtest.h"
#include "model/failure.h"

namespace fanmirror::daemon {
namespace {

std::string ErrorOf(std::string_view line) {
  const auto request = ParseRequest(line);
  return request.ok() ? "(accepted)" : std::string(request.status().message());
}

TEST(ParseRequest, ReadsStatus) {
  const auto plain = ParseRequest(R"({"command":"status"})");
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_EQ(plain->command, Request::Command::kStatus);
  EXPECT_FALSE(plain->follow);
  const auto follow = ParseRequest(R"({"command":"status","follow":true})");
  ASSERT_TRUE(follow.ok()) << follow.status();
  EXPECT_TRUE(follow->follow);
}

TEST(ParseRequest, ReadsWait) {
  const auto request = ParseRequest(R"({"target":"dr1","job":"a","timeout_seconds":1.5,"command":"wait"})");
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->command, Request::Command::kWait);
  EXPECT_EQ(request->barrier.job, "a");
  EXPECT_EQ(request->barrier.target, "dr1");
  EXPECT_EQ(request->barrier.timeout, absl::Milliseconds(1500));
  const auto bare = ParseRequest(R"({"command":"wait"})");
  ASSERT_TRUE(bare.ok()) << bare.status();
  EXPECT_EQ(bare->barrier.timeout, absl::Seconds(60));
}

TEST(ParseRequest, BoundsTheTimeout) {
  const auto request = ParseRequest(R"({"command":"wait","timeout_seconds":1e300})");
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->barrier.timeout, kMaxTimeout);
}

TEST(ParseRequest, RefusesInOneLine) {
  EXPECT_EQ(ErrorOf(""), "a request is one JSON object on one line");
  EXPECT_EQ(ErrorOf("[]"), "a request is one JSON object on one line");
  EXPECT_EQ(ErrorOf("{\"command\":\"status\""), "a request is one JSON object on one line");
  EXPECT_EQ(ErrorOf("{}"), "a request needs a \"command\"; there are: status, wait, verify, approve, adopt");
  EXPECT_EQ(ErrorOf(R"({"command":7})"), "\"command\" must be a string");
  EXPECT_EQ(ErrorOf(R"({"command":"sta\ntus"})"), "unknown command 'sta\\x0atus'; there are: status, wait, verify, approve, adopt");
  EXPECT_EQ(ErrorOf(R"({"command":"status","job":"a"})"), "unknown field 'job' for this command");
  EXPECT_EQ(ErrorOf(R"({"command":"status","follow":1})"), "\"follow\" must be true or false");
  EXPECT_EQ(ErrorOf(R"({"command":"wait","job":null})"), "\"job\" must be a string");
  EXPECT_EQ(ErrorOf(R"({"command":"approve"})"), "this command needs a \"job\"");
  EXPECT_EQ(ErrorOf(R"({"command":"verify"})"), "this command needs a \"job\"");
  EXPECT_EQ(ErrorOf(R"({"command":"verify","job":"a","repair":1})"), "\"repair\" must be true or false");
  EXPECT_EQ(ErrorOf(R"({"command":"approve","job":"a","follow":true})"), "unknown field 'follow' for this command");
  const std::string timeout = "\"timeout_seconds\" must be a number that is not negative";
  EXPECT_EQ(ErrorOf(R"({"command":"wait","timeout_seconds":-1})"), timeout);
  EXPECT_EQ(ErrorOf(R"({"command":"wait","timeout_seconds":"1"})"), timeout);
}

TEST(ParseRequest, SurvivesGarbage) {
  EXPECT_NE(ErrorOf(std::string(kMaxRequestBytes, '[')), "(accepted)");
  EXPECT_NE(ErrorOf(std::string(R"({"command":"\xff"})")), "(accepted)");
  std::mt19937 random(1);
  const std::string valid = R"({"command":"wait","job":"a","timeout_seconds":60})";
  for (int i = 0; i < 20000; ++i) {
    std::string line = valid;
    for (int edits = 0; edits < 3; ++edits) line[random() % line.size()] = static_cast<char>(random());
    const auto request = ParseRequest(line);
    if (!request.ok()) {
      EXPECT_EQ(std::string(request.status().message()).find('\n'), std::string::npos);
    }
  }
}

TEST(FormatRequest, IsReadBackAsItWas) {
  Request request;
  request.command = Request::Command::kWait;
  request.barrier = {"a \"b\"", "t", absl::Milliseconds(250)};
  const auto wait = ParseRequest(FormatRequest(request));
  ASSERT_TRUE(wait.ok()) << wait.status();
  EXPECT_EQ(wait->barrier.job, "a \"b\"");
  EXPECT_EQ(wait->barrier.target, "t");
  EXPECT_EQ(wait->barrier.timeout, absl::Milliseconds(250));
  Request approve;
  approve.command = Request::Command::kApprove;
  approve.choice = {"a", "t"};
  const auto approved = ParseRequest(FormatRequest(approve));
  ASSERT_TRUE(approved.ok()) << approved.status();
  EXPECT_EQ(approved->command, Request::Command::kApprove);
  EXPECT_EQ(approved->choice.job, "a");
  EXPECT_EQ(approved->choice.target, "t");
  approve.command = Request::Command::kAdopt;
  const auto adopted = ParseRequest(FormatRequest(approve));
  ASSERT_TRUE(adopted.ok()) << adopted.status();
  EXPECT_EQ(adopted->command, Request::Command::kAdopt);
  Request verify;
  verify.command = Request::Command::kVerify;
  verify.verify = {{"a", "t"}, /*content=*/true, /*repair=*/true};
  const auto verified = ParseRequest(FormatRequest(verify));
  ASSERT_TRUE(verified.ok()) << verified.status();
  EXPECT_EQ(verified->command, Request::Command::kVerify);
  EXPECT_EQ(verified->verify.choice.job, "a");
  EXPECT_EQ(verified->verify.choice.target, "t");
  EXPECT_TRUE(verified->verify.content);
  EXPECT_TRUE(verified->verify.repair);
  Request follow;
  follow.follow = true;
  const auto status = ParseRequest(FormatRequest(follow));
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_TRUE(status->follow);
}

TEST(Answers, CarryTheErrorInWords) {
  EXPECT_TRUE(ParseAnswer(FormatAnswer(absl::OkStatus())).ok());
  const auto refused = ParseAnswer(FormatAnswer(model::Failure(model::Reaction::kRetry, "not yet \xff")));
  EXPECT_EQ(refused.status().message(), "not yet \xef\xbf\xbd");
  const auto status = ParseAnswer(FormatStatusAnswer({{"pid", 7}}));
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_EQ((*status)["status"]["pid"], 7);
  EXPECT_FALSE(ParseAnswer("gibberish").ok());
  EXPECT_FALSE(ParseAnswer("{}").ok());
  EXPECT_FALSE(ParseAnswer(R"({"ok":false})").ok());
}

}  // namespace
}  // namespace fanmirror::daemon
