#include "daemon/status.h"

#include "absl/time/clock.h"
#include "daemon/testing/fake_replicator.h"
#include "gtest/gtest.h"

namespace fanmirror::daemon {
namespace {

using nlohmann::json;
using testing::AddJob;

TEST(StatusJson, HasTheFieldsThatScriptsDependOn) {
  Jobs jobs;
  testing::FakeReplicator* replicator = AddJob(&jobs, "uploads", "dr1");
  replicate::Progress progress;
  progress.state = replicate::State::kLive;
  progress.lag_seconds = 0.25;
  progress.pending = 3;
  progress.acked_files = 100;
  progress.acked_bytes = 5000;
  progress.wire_bytes_sent = 700;
  progress.scans = 1;
  progress.scanned = 101;
  progress.listed = 7;
  progress.last_error = "once";
  replicator->Set(progress);

  const json status = StatusJson(jobs, {.events = 9, .overflows = 1, .filesystem_errors = 2}, absl::Now() - absl::Seconds(5));
  const json& job = status.at("jobs").at(0);
  EXPECT_EQ(job.at("name"), "uploads");
  EXPECT_EQ(job.at("state"), "live");
  EXPECT_EQ(job.at("source"), "/srv/uploads");
  EXPECT_EQ(job.at("mount"), "/srv");
  const json& target = job.at("targets").at(0);
  EXPECT_EQ(target.at("name"), "dr1");
  EXPECT_EQ(target.at("state"), "live");
  EXPECT_EQ(target.at("lag_seconds"), 0.25);
  EXPECT_EQ(target.at("pending"), 3);
  EXPECT_EQ(target.at("acked_files"), 100);
  EXPECT_EQ(target.at("listed"), 7);
  EXPECT_EQ(target.at("acked_bytes"), 5000);
  EXPECT_EQ(target.at("last_error"), "once");
  const json& counters = status.at("counters");
  EXPECT_EQ(counters.at("events"), 9);
  EXPECT_EQ(counters.at("overflows"), 1);
  EXPECT_EQ(counters.at("filesystem_errors"), 2);
  EXPECT_EQ(counters.at("scans"), 1);
  EXPECT_EQ(counters.at("scanned"), 101);
  EXPECT_EQ(counters.at("wire_bytes_sent"), 700);
  EXPECT_EQ(status.at("version"), FANMIRROR_VERSION);
  EXPECT_EQ(status.at("pid"), ::getpid());
  EXPECT_GE(status.at("uptime_seconds"), 5.0);
  EXPECT_GT(status.at("rss_anon_bytes"), 4096);
}

TEST(StatusJson, SumsTheCountersOfAllTargets) {
  Jobs jobs;
  for (const char* name : {"a", "b"}) {
    replicate::Progress progress;
    progress.scans = 2;
    progress.wire_bytes_sent = 10;
    AddJob(&jobs, name, "t")->Set(progress);
  }
  const json counters = StatusJson(jobs, {}, absl::Now()).at("counters");
  EXPECT_EQ(counters.at("scans"), 4);
  EXPECT_EQ(counters.at("wire_bytes_sent"), 20);
}

TEST(StatusJson, ShowsAJobThatIsHeld) {
  Jobs jobs;
  jobs.push_back(testing::MakeJob("a", {"t"}));
  jobs[0]->targets[0]->SetHold(Hold::kPaused, "the source is not there");
  const json job = StatusJson(jobs, {}, absl::Now()).at("jobs").at(0);
  EXPECT_EQ(job.at("state"), "paused");
  EXPECT_EQ(job.at("error"), "paused: the source is not there");
  EXPECT_EQ(job.at("targets").at(0).at("state"), "paused");
  EXPECT_EQ(job.at("targets").at(0).at("last_error"), "the source is not there");
}

TEST(StatusJson, CountsOverReplicatorsThatComeAndGo) {
  Jobs jobs;
  replicate::Progress progress;
  progress.acked_files = 3;
  progress.scans = 1;
  progress.pending = 2;
  progress.lag_seconds = 100;
  AddJob(&jobs, "a", "t")->Set(progress);
  Target& target = *jobs[0]->targets[0];
  target.SetHold(Hold::kPaused, "unmounted");
  target.Close();
  json shown = StatusJson(jobs, {}, absl::Now()).at("jobs").at(0).at("targets").at(0);
  EXPECT_EQ(shown.at("acked_files"), 3);
  EXPECT_EQ(shown.at("pending"), 2);
  EXPECT_GE(shown.at("lag_seconds"), 100.0);
  progress.pending = 0;
  progress.lag_seconds = 0;
  testing::Run(&target)->Set(progress);
  shown = StatusJson(jobs, {}, absl::Now()).at("jobs").at(0).at("targets").at(0);
  EXPECT_EQ(shown.at("acked_files"), 6);
  EXPECT_EQ(shown.at("scans"), 2);
  EXPECT_EQ(shown.at("pending"), 0);
  EXPECT_EQ(shown.at("lag_seconds"), 0.0);
}

TEST(StatusJson, IsValidTextWhateverThePathsHold) {
  Jobs jobs;
  replicate::Progress progress;
  progress.last_path = "bad\xff\nname";
  AddJob(&jobs, "a", "t")->Set(progress);
  const std::string line = Dump(StatusJson(jobs, {}, absl::Now()));
  EXPECT_EQ(line.find('\n'), std::string::npos);
  EXPECT_EQ(json::parse(line).at("jobs").at(0).at("targets").at(0).at("last_path"), "bad\xef\xbf\xbd\nname");
}

TEST(JobState, IsTheWorstOfItsTargets) {
  const std::unique_ptr<Job> job = testing::MakeJob("a", {"one", "two"});
  EXPECT_EQ(JobState(*job), "starting");
  testing::Run(job->targets[0].get())->Set(replicate::State::kLive);
  testing::FakeReplicator* replicator = testing::Run(job->targets[1].get());
  replicator->Set(replicate::State::kLive);
  EXPECT_EQ(JobState(*job), "live");
  replicator->Set(replicate::State::kSyncing);
  EXPECT_EQ(JobState(*job), "syncing");
  replicator->Set(replicate::State::kConnecting);
  EXPECT_EQ(JobState(*job), "connecting");
  replicator->Halt("why");
  EXPECT_EQ(JobState(*job), "halted");
  job->targets[1]->SetHold(Hold::kFailed, "why");
  EXPECT_EQ(JobState(*job), "failed");
  job->targets[0]->SetHold(Hold::kNeedsAdoption, "why");
  EXPECT_EQ(JobState(*job), "needs-adoption");
}

TEST(StatusLine, CountsWhatIsLive) {
  Jobs jobs;
  AddJob(&jobs, "a", "t")->Set(replicate::State::kLive);
  replicate::Progress late;
  late.lag_seconds = 12.34;
  AddJob(&jobs, "b", "t")->Set(late);
  EXPECT_EQ(StatusLine(jobs), "1 of 2 targets live, lag 12.3 s");
}

}  // namespace
}  // namespace fanmirror::daemon
