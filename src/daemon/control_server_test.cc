#include "daemon/control_server.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "daemon/control_address.h"
#include "daemon/control_client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/failure.h"
#include "os/testing/filesystem.h"

namespace fanmirror::daemon {
namespace {

using ::testing::HasSubstr;

ControlHandlers Handlers() {
  return {[] {
            return nlohmann::json{{"pid", 7}};
          },
          [](const BarrierRequest& request, const std::function<bool()>&) {
            if (request.job == "missing")
              return model::Failure(model::Reaction::kHaltJob, "no job 'missing'");
            return absl::OkStatus();
          },
          [](const TargetChoice& choice) {
            return model::Failure(model::Reaction::kHaltJob, "approved " + choice.job + "/" + choice.target);
          },
          [](const TargetChoice& choice) {
            return model::Failure(model::Reaction::kHaltJob, "adopted " + choice.job + "/" + choice.target);
          },
          [](const VerifyRequest& request, const std::function<bool()>&,
             const Emit& emit) {
            for (int i = 0; i < 3; ++i) emit({{"difference", {{"target", request.choice.job}, {"number", i}}}}, [] { return false; });
            return absl::OkStatus();
          }};
}

Request Wait(const std::string& job) {
  Request request;
  request.command = Request::Command::kWait;
  request.barrier.job = job;
  return request;
}

class ControlServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto directory = os::testing::ScopedDirectory::Create();
    ASSERT_TRUE(directory.ok()) << directory.status();
    directory_ = *std::move(directory);
    path_ = directory_->path() + "/run/control.sock";
  }
  std::unique_ptr<ControlServer> Start(ControlHandlers handlers) {
    auto server = ControlServer::Start(path_, std::move(handlers));
    EXPECT_TRUE(server.ok()) << server.status();
    return server.ok() ? *std::move(server) : nullptr;
  }
  os::UniqueFd RawClient() {
    os::UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    auto address = ControlAddress::Of(path_);
    EXPECT_TRUE(address.ok()) << address.status();
    EXPECT_EQ(::connect(fd.get(), address->get(), sizeof address->address), 0) << errno;
    return fd;
  }
  // All that comes until the server closes.
  static std::string ReadAll(int fd) {
    std::string all;
    char buffer[4096];
    for (ssize_t length; (length = ::recv(fd, buffer, sizeof buffer, 0)) > 0;) all.append(buffer, length);
    return all;
  }

  std::unique_ptr<os::testing::ScopedDirectory> directory_;
  std::string path_;
};

TEST_F(ControlServerTest, AnswersStatusAndWait) {
  auto server = Start(Handlers());
  auto client = ControlClient::Connect(path_);
  ASSERT_TRUE(client.ok()) << client.status();
  const auto status = client->Ask({});
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_EQ((*status)["status"]["pid"], 7);
  EXPECT_TRUE(client->Ask(Wait("there")).ok());
  EXPECT_EQ(client->Ask(Wait("missing")).status().message(), "no job 'missing'");
}

TEST_F(ControlServerTest, PassesOnWhatIsApprovedOrAdopted) {
  const auto server = Start(Handlers());
  Request request;
  request.command = Request::Command::kApprove;
  request.choice = {"a", "t"};
  auto client = ControlClient::Connect(path_);
  ASSERT_TRUE(client.ok()) << client.status();
  EXPECT_EQ(client->Ask(request).status().message(), "approved a/t");
  request.command = Request::Command::kAdopt;
  EXPECT_EQ(client->Ask(request).status().message(), "adopted a/t");
}

TEST_F(ControlServerTest, IsForItsOwnerOnly) {
  auto server = Start(Handlers());
  struct stat status {};
  ASSERT_EQ(::stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
  ASSERT_EQ(::stat((directory_->path() + "/run").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0700u);
}

TEST_F(ControlServerTest, WorksWhereThePathIsLongerThanAnAddress) {
  const std::string path = absl::StrCat(directory_->path(), "/", std::string(200, 'd'), "/control.sock");
  auto server = ControlServer::Start(path, Handlers());
  ASSERT_TRUE(server.ok()) << server.status();
  auto client = ControlClient::Connect(path);
  ASSERT_TRUE(client.ok()) << client.status();
  EXPECT_TRUE(client->Ask({}).ok());
}

TEST_F(ControlServerTest, ReplacesASocketOnlyWhenNobodyAnswersOnIt) {
  {
    auto first = Start(Handlers());
    const auto second = ControlServer::Start(path_, Handlers());
    ASSERT_FALSE(second.ok());
    EXPECT_THAT(std::string(second.status().message()), HasSubstr("another daemon answers there"));
    auto client = ControlClient::Connect(path_);
    ASSERT_TRUE(client.ok());
    EXPECT_TRUE(client->Ask({}).ok());  // the first one still serves
  }
  {
    // What a killed daemon leaves: a socket that nobody listens on.
    const os::UniqueFd dead(::socket(AF_UNIX, SOCK_STREAM, 0));
    auto address = ControlAddress::Of(path_);
    ASSERT_TRUE(address.ok());
    ASSERT_EQ(::bind(dead.get(), address->get(), sizeof address->address), 0);
  }
  auto third = Start(Handlers());
  auto client = ControlClient::Connect(path_);
  ASSERT_TRUE(client.ok()) << client.status();
  EXPECT_TRUE(client->Ask({}).ok());
}

TEST_F(ControlServerTest, LeavesAnotherFileAlone) {
  ASSERT_EQ(::mkdir((directory_->path() + "/run").c_str(), 0700), 0);
  std::ofstream(path_) << "precious";
  const auto server = ControlServer::Start(path_, Handlers());
  ASSERT_FALSE(server.ok());
  EXPECT_THAT(std::string(server.status().message()), HasSubstr("something else is there"));
  std::string text;
  std::ifstream(path_) >> text;
  EXPECT_EQ(text, "precious");
}

TEST_F(ControlServerTest, AnswersHostileInputWithAnError) {
  auto server = Start(Handlers());
  {
    const os::UniqueFd fd = RawClient();
    const std::string lines = "\xff\xfe\n{\"command\":\"status\"}\n";
    ASSERT_EQ(::send(fd.get(), lines.data(), lines.size(), 0), static_cast<ssize_t>(lines.size()));
    ::shutdown(fd.get(), SHUT_WR);
    const std::string answer = ReadAll(fd.get());
    EXPECT_THAT(answer, HasSubstr("\"ok\":false"));
    EXPECT_THAT(answer, HasSubstr("\"ok\":true"));  // the line after it is served all the same
  }
  const os::UniqueFd fd = RawClient();
  const std::string endless(kMaxRequestBytes + 5000, 'x');
  ::send(fd.get(), endless.data(), endless.size(), MSG_NOSIGNAL);
  EXPECT_THAT(ReadAll(fd.get()), HasSubstr("a request is at most"));
}

TEST_F(ControlServerTest, BoundsItsClients) {
  auto server = Start(Handlers());
  std::vector<os::UniqueFd> clients;
  for (std::size_t i = 0; i < ControlServer::kMaxClients; ++i) clients.push_back(RawClient());
  const os::UniqueFd one_more = RawClient();
  EXPECT_THAT(ReadAll(one_more.get()), HasSubstr("too many clients"));
  clients.clear();
  // Places come free when clients go.
  const absl::Time deadline = absl::Now() + absl::Seconds(30);
  bool served = false;
  while (!served && absl::Now() < deadline) {
    auto client = ControlClient::Connect(path_);
    ASSERT_TRUE(client.ok()) << client.status();
    served = client->Ask({}).ok();
  }
  EXPECT_TRUE(served);
}

TEST_F(ControlServerTest, FollowsUntilTheClientGoes) {
  auto server = Start(Handlers());
  auto client = ControlClient::Connect(path_);
  ASSERT_TRUE(client.ok());
  Request follow;
  follow.follow = true;
  ASSERT_TRUE(client->Ask(follow).ok());
  const auto again = client->NextAnswer();
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ((*again)["status"]["pid"], 7);
}

Request Verify(const std::string& job) {
  Request request;
  request.command = Request::Command::kVerify;
  request.verify.choice.job = job;
  return request;
}

TEST_F(ControlServerTest, AVerificationIsAnsweredInParts) {
  auto server = Start(Handlers());
  auto client = ControlClient::Connect(path_);
  ASSERT_TRUE(client.ok());
  auto answer = client->Ask(Verify("a"));
  for (int i = 0; i < 3; ++i, answer = client->NextAnswer()) {
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ((*answer)["difference"]["target"], "a");
    EXPECT_EQ((*answer)["difference"]["number"], i);
  }
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_FALSE(answer->contains("difference"));
}

TEST_F(ControlServerTest, AClientThatTakesItsTimeGetsEveryPart) {
  constexpr int kParts = 20'000;  // far more than a socket holds
  ControlHandlers handlers = Handlers();
  handlers.verify = [&](const VerifyRequest&, const std::function<bool()>&,
                        const Emit& emit) {
    for (int i = 0; i < kParts; ++i) {
      if (!emit({{"number", i}, {"path", std::string(100, 'x')}}, [] { return false; })) return absl::CancelledError("gone");
    }
    return absl::OkStatus();
  };
  auto server = Start(std::move(handlers));
  auto client = ControlClient::Connect(path_);
  ASSERT_TRUE(client.ok());
  auto answer = client->Ask(Verify("a"));
  for (int i = 0; i < kParts; ++i, answer = client->NextAnswer()) {
    ASSERT_TRUE(answer.ok()) << answer.status();
    ASSERT_EQ((*answer)["number"], i);
  }
  EXPECT_TRUE(answer.ok()) << answer.status();
}

TEST_F(ControlServerTest, AVerificationEndsWhenItsClientGoesOrTheServerEnds) {
  for (const bool server_ends : {false, true}) {
    absl::Notification begun;
    absl::Notification given_up;
    ControlHandlers handlers = Handlers();
    handlers.verify = [&](const VerifyRequest&, const std::function<bool()>&,
                          const Emit& emit) {
      while (emit({{"path", std::string(1000, 'x')}}, [] { return false; })) {
        if (!begun.HasBeenNotified()) begun.Notify();
      }
      given_up.Notify();
      return absl::OkStatus();
    };
    auto server = Start(std::move(handlers));
    os::UniqueFd fd = RawClient();
    const std::string line = FormatRequest(Verify("a")) + "\n";
    ASSERT_EQ(::send(fd.get(), line.data(), line.size(), 0), static_cast<ssize_t>(line.size()));
    begun.WaitForNotification();
    if (server_ends) {
      server.reset();
    } else {
      fd.reset();
    }
    EXPECT_TRUE(given_up.WaitForNotificationWithTimeout(absl::Seconds(30)));
  }
}

TEST_F(ControlServerTest, TellsAWaitThatItsClientIsGone) {
  absl::Notification abandoned;
  ControlHandlers handlers = Handlers();
  handlers.wait = [&](const BarrierRequest&, const std::function<bool()>& gone) {
    while (!gone()) absl::SleepFor(absl::Milliseconds(1));
    abandoned.Notify();
    return absl::OkStatus();
  };
  auto server = Start(std::move(handlers));
  {
    const os::UniqueFd fd = RawClient();
    const std::string line = "{\"command\":\"wait\"}\n";
    ASSERT_EQ(::send(fd.get(), line.data(), line.size(), 0), static_cast<ssize_t>(line.size()));
  }
  EXPECT_TRUE(abandoned.WaitForNotificationWithTimeout(absl::Seconds(30)));
}

TEST_F(ControlServerTest, EndsWaitsWhenItEnds) {
  absl::Notification waiting;
  ControlHandlers handlers = Handlers();
  handlers.wait = [&](const BarrierRequest&, const std::function<bool()>& gone) {
    waiting.Notify();
    while (!gone()) absl::SleepFor(absl::Milliseconds(1));
    return absl::OkStatus();
  };
  auto server = Start(std::move(handlers));
  const os::UniqueFd fd = RawClient();
  const std::string line = "{\"command\":\"wait\"}\n";
  ASSERT_EQ(::send(fd.get(), line.data(), line.size(), 0), static_cast<ssize_t>(line.size()));
  waiting.WaitForNotification();
  server.reset();
  EXPECT_NE(::access(path_.c_str(), F_OK), 0);
}

TEST_F(ControlServerTest, AClientSaysThatThereIsNoDaemon) {
  for (const char* name : {"/none.sock", "/no/such/directory.sock"}) {
    const std::string path = directory_->path() + name;
    const auto client = ControlClient::Connect(path);
    ASSERT_FALSE(client.ok());
    EXPECT_THAT(std::string(client.status().message()), HasSubstr("no daemon answers on"));
  }
}

}  // namespace
}  // namespace fanmirror::daemon
