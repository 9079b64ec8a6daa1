#include "replicate/stores.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "os/clock.h"
#include "replicate/testing/mirror_fixture.h"

namespace fanmirror::replicate {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

// What one target keeps on disk, and what becomes of the mirror when some of it is lost, damaged or of something else.
class StoresTest : public testing::MirrorTest {
 protected:
  std::string StateDir() const { return state_->path() + "/state"; }
  SourceIdentity Here() const { return {tree_->root(), "the filesystem"}; }
  // A file that is read so soon after its last change is racily clean, and an adopted one then sent whole.
  static void AwaitQuiet() {
    const std::int64_t written = os::RealtimeNs();
    EXPECT_TRUE(Await([&] { return os::RealtimeNs() - written > os::kRacyWindowNs; }));
  }
  // Mirrors 40 files and stops.
  void MirrorSome() {
    MakeDir("dir");
    for (int i = 0; i < 40; ++i) Write("dir/" + std::to_string(i), "text " + std::to_string(i));
    AwaitQuiet();
    Start();
    ExpectMirrored();
    Stop();
  }
  // Goes on: equal, and nothing sent that was equal already. Returns the situation then.
  std::string ExpectNothingSentAgain() {
    Start();
    ExpectMirrored();
    std::string situation = Situation();
    EXPECT_EQ(replicator_->progress().acked_files, 0U) << situation;
    Stop();
    return situation;
  }
};

TEST_P(StoresTest, IdentityAndAdoptionAreReadBackAsTheyWere) {
  fs::create_directories(StateDir());
  EXPECT_EQ(ReadIdentity(StateDir()).value(), std::nullopt);
  EXPECT_EQ(FitOf(StateDir(), Here()).value(), Fit::kNew);
  const Identity identity{std::string(32, 'a'), Here(), true};
  ASSERT_TRUE(WriteIdentity(StateDir(), identity).ok());
  EXPECT_EQ(ReadIdentity(StateDir()).value(), identity);
  EXPECT_EQ(FitOf(StateDir(), Here()).value(), Fit::kSame);
  const SourceIdentity other{tree_->root(), "another filesystem"};
  EXPECT_EQ(FitOf(StateDir(), other).value(), Fit::kAnother);
  ASSERT_TRUE(WriteAdoption(StateDir(), other).ok());
  EXPECT_EQ(ReadAdoption(StateDir()).value(), other);
  EXPECT_EQ(FitOf(StateDir(), other).value(), Fit::kAdopted);
  EXPECT_EQ(FitOf(StateDir(), Here()).value(), Fit::kSame);
  ASSERT_TRUE(RemoveAdoption(StateDir()).ok());
  EXPECT_EQ(FitOf(StateDir(), other).value(), Fit::kAnother);
}

TEST_P(StoresTest, ADamagedIdentityIsNoGuess) {
  fs::create_directories(StateDir());
  const Identity identity{std::string(32, 'a'), Here(), true};
  ASSERT_TRUE(WriteIdentity(StateDir(), identity).ok());
  const std::string whole = testing::Contents(StateDir() + "/identity");
  for (std::size_t keep = 0; keep < whole.size(); ++keep) {
    std::ofstream(StateDir() + "/identity", std::ios::trunc) << whole.substr(0, keep);
    EXPECT_FALSE(ReadIdentity(StateDir()).ok()) << keep;
  }
  EXPECT_FALSE(Replicator::Open(MakeOptions()).ok());
  ASSERT_TRUE(WriteAdoption(StateDir(), Here()).ok());
  EXPECT_TRUE(Replicator::Open(MakeOptions()).ok());
}

TEST_P(StoresTest, ADamagedCatalogueIsRebuiltFromTheTarget) {
  MirrorSome();
  for (const bool truncate : {true, false}) {
    const std::string data = StateDir() + "/catalogue/data.mdb";
    if (truncate) {
      fs::resize_file(data, 3 * 4096);
    } else {
      std::ofstream(data, std::ios::trunc) << std::string(50'000, 'x');
    }
    Remove("dir/" + std::to_string(truncate ? 1 : 2));
    const std::string situation = ExpectNothingSentAgain();
    EXPECT_THAT(situation, HasSubstr("set aside"));
    EXPECT_TRUE(fs::exists(StateDir() + "/catalogue.damaged"));
  }
}

TEST_P(StoresTest, ALostCatalogueIsRebuiltFromTheTarget) {
  MirrorSome();
  fs::remove_all(StateDir() + "/catalogue");
  ExpectNothingSentAgain();
}

// A rebuilt catalogue knows no batch; still the target is no new one.
TEST_P(StoresTest, ALostCatalogueDoesNotMakeAnUnmountedTargetANewOne) {
  MirrorSome();
  fs::remove_all(StateDir() + "/catalogue");
  fs::rename(At("target"), At("hidden"));
  MakeDirectory("target");
  Start();
  AwaitProgress([](const Progress& now) { return now.last_error.find("marker is missing") != std::string::npos; });
  Stop();
  EXPECT_TRUE(fs::is_empty(At("target")));
  fs::remove(At("target"));
  fs::rename(At("hidden"), At("target"));
  ExpectNothingSentAgain();
}

TEST_P(StoresTest, ADamagedPendingSetStartsEmptyAndAllIsScanned) {
  MirrorSome();
  Write("dir/new", "text");
  std::ofstream(StateDir() + "/pending/data.mdb", std::ios::trunc) << std::string(50'000, 'x');
  Start();
  ExpectMirrored();
  EXPECT_EQ(replicator_->progress().acked_files, 1U);
}

TEST_P(StoresTest, AnAdoptedSourceIsMirroredWithoutSendingWhatIsEqual) {
  MirrorSome();
  MakeDirectory("other");
  fs::copy(At("source"), At("other"), fs::copy_options::recursive);
  // Copies of the files with the same mtime; one differs, one is new, one is not there.
  for (int i = 0; i < 40; ++i) {
    const std::string file = "/dir/" + std::to_string(i);
    fs::last_write_time(At("other") + file, fs::last_write_time(At("source") + file));
  }
  WriteFile("other/dir/1", "changed");
  WriteFile("other/dir/new", "new");
  fs::remove(At("other/dir/2"));
  AwaitQuiet();
  OpenTree(At("other"));
  EXPECT_EQ(FitOf(StateDir(), Here()).value(), Fit::kAnother);
  EXPECT_FALSE(Replicator::Open(MakeOptions()).ok());

  ASSERT_TRUE(WriteAdoption(StateDir(), Here()).ok());
  Start();
  AwaitReached();
  EXPECT_THAT(testing::Differences(At("other"), At("target")), ::testing::IsEmpty()) << Situation();
  EXPECT_EQ(replicator_->progress().acked_files, 2U) << Situation();
  Stop();
  EXPECT_EQ(ReadAdoption(StateDir()).value(), std::nullopt);
  EXPECT_EQ(FitOf(StateDir(), Here()).value(), Fit::kSame);
}

TEST_P(StoresTest, ATargetThatRefusesIsTakenOverOnceItIsAdopted) {
  MirrorSome();
  fs::remove_all(At("target/.fanmirror"));
  Start();
  AwaitProgress([](const Progress& now) { return now.last_error.find("use adopt") != std::string::npos; });
  Stop();
  ASSERT_TRUE(WriteAdoption(StateDir(), Here()).ok());
  ExpectNothingSentAgain();
  // Only once: the next one that lost its marker is refused again.
  fs::remove_all(At("target/.fanmirror"));
  Start();
  AwaitProgress([](const Progress& now) { return now.last_error.find("use adopt") != std::string::npos; });
}

// The listing of the target that is cut short is begun again: what it had not come to is not taken for absent.
TEST_P(StoresTest, AnAdoptionThatIsCutShortIsDoneAgain) {
  MirrorSome();
  WriteFile("target/dir/theirs", "not in the source");
  ASSERT_TRUE(WriteAdoption(StateDir(), Here()).ok());
  {
    auto stores = OpenStores(MakeOptions());
    ASSERT_TRUE(stores.ok()) << stores.status();
    EXPECT_TRUE(stores->adopting);
    // As far as a listing of the root alone comes.
    std::vector<catalogue::Effect> effects(1);
    effects[0].kind = catalogue::Effect::Kind::kSetNode;
    effects[0].id = tree_->root();
    effects[0].record.metadata.type = model::NodeType::kDirectory;
    ASSERT_TRUE(stores->catalogue->Commit(stores->catalogue->header().batch, effects).ok());
  }
  ASSERT_TRUE(RemoveAdoption(StateDir()).ok());
  ExpectNothingSentAgain();
}

// The disk that our state is on fails: the target halts, and nobody knows what of the last writes is there.
TEST_P(StoresTest, AFailedWriteOfOurStateIsNoGuess) {
  auto disk = os::testing::ScopedFilesystem::Create("ext4");
  ASSERT_TRUE(disk.ok()) << disk.status();
  Options options = MakeOptions();
  options.state_dir = (*disk)->path() + "/state";
  MakeDir("dir");
  for (int i = 0; i < 40; ++i) Write("dir/" + std::to_string(i), "text " + std::to_string(i));
  AwaitQuiet();
  Start(options);
  ExpectMirrored();
  ASSERT_TRUE((*disk)->ShutDown().ok());
  Write("dir/new", "text");
  AwaitProgress([](const Progress& now) { return now.state == State::kHalted; });
  EXPECT_FALSE(replicator_->progress().last_error.empty());
  Stop();
  ASSERT_TRUE((*disk)->Unmount().ok());
  ASSERT_TRUE((*disk)->Mount().ok());
  Start(options);
  ExpectMirrored();
  EXPECT_LE(replicator_->progress().acked_files, 1U) << Situation();
  Stop();
}

INSTANTIATE_TEST_SUITE_P(On, StoresTest, ::testing::Values("ext4"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace fanmirror::replicate
