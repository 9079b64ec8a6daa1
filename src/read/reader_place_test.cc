#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "os/clock.h"
#include "read/pieces.h"
#include "read/reader_fixture.h"

namespace fanmirror::read {
namespace {

// A source beside which there are other directories of the same filesystem.
class ReaderPlace : public ReaderTest {
 protected:
  void Move(std::string_view from, std::string_view to) {
    ASSERT_EQ(::rename(At(from).c_str(), At(to).c_str()), 0) << from << ": " << std::strerror(errno);
  }
  void MakeDirectory(std::string_view name) { ASSERT_EQ(::mkdir(At(name).c_str(), 0755), 0) << name; }
  // A name outside of the source, of this test alone.
  std::string Outside(std::string_view name) const {
    const std::string source = std::filesystem::path(At("")).parent_path().filename();
    return absl::StrCat("../outside.", source, ".", std::string(name));
  }
  void TearDown() override {
    for (const std::string& name : {Outside("d"), Outside("f")}) std::filesystem::remove_all(At(name));
    ReaderTest::TearDown();
  }
};

TEST_P(ReaderPlace, WhatLiesOutsideIsNotGiven) {
  MakeDirectory("d");
  Write("d/f", "secret");
  Write("f", "secret");
  ASSERT_EQ(::symlink("secret", At("d/link").c_str()), 0);
  const model::FileId dir = Id("d");
  const std::vector<model::FileId> ids = {Id("d/f"), Id("f"), Id("d/link"), dir};
  Move("d", Outside("d"));
  Move("f", Outside("f"));
  for (const model::FileId& id : ids) {
    const Result result = Read({.id = id, .content = true, .names = {{dir, "f"}, {dir, "link"}}});
    EXPECT_TRUE(result.moved);
    EXPECT_FALSE(result.begin.has_value());
    EXPECT_EQ(result.data, "");
  }
}

TEST_P(ReaderPlace, WhatWasMovedWithinTheSourceIsGiven) {
  MakeDirectory("d");
  MakeDirectory("e");
  Write("d/f", "ours");
  const Request request = {.id = Id("d/f"), .content = true, .names = {{Id("d"), "f"}}, .path = "d/f"};
  Move("d", "e/d");
  EXPECT_EQ(Read(request).data, "ours");
  Move("e/d/f", "e/f (deleted)");
  EXPECT_EQ(Read(request).data, "ours");
}

TEST_P(ReaderPlace, OneOfSeveralNamesIsEnough) {
  MakeDirectory("d");
  Write("f", "ours");
  const Request request = {.id = Id("f"), .content = true, .names = {{Id("d"), "gone"}, {Id("d"), "f"}}};
  // Whichever of them the kernel comes upon first.
  ASSERT_EQ(::link(At("f").c_str(), At(Outside("f")).c_str()), 0);
  ASSERT_EQ(::link(At("f").c_str(), At("d/f").c_str()), 0);
  ASSERT_EQ(::unlink(At("f").c_str()), 0);
  EXPECT_EQ(Read(request).data, "ours");
  ASSERT_EQ(::unlink(At("d/f").c_str()), 0);
  EXPECT_TRUE(Read(request).moved);
}

// Too long for the kernel to say where it is.
TEST_P(ReaderPlace, InTheDepthIsInside) {
  os::UniqueFd dir(::open(At("").c_str(), O_PATH | O_CLOEXEC));
  for (int depth = 0; depth < 40; ++depth) {
    const std::string name(200, 'd');
    ASSERT_EQ(::mkdirat(dir.get(), name.c_str(), 0755), 0);
    dir.reset(::openat(dir.get(), name.c_str(), O_PATH | O_CLOEXEC));
  }
  const os::UniqueFd file(::openat(dir.get(), "f", O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
  WriteAt(file.get(), 0, "deep");
  model::FileId id;
  model::FileId parent;
  ASSERT_EQ(os::IdAt(file.get(), "", &id), 0);
  ASSERT_EQ(os::IdAt(dir.get(), "", &parent), 0);
  EXPECT_EQ(Read({.id = id, .content = true, .names = {{parent, "f"}}}).data, "deep");
  EXPECT_TRUE(Read({.id = parent}).end.has_value());
}

// Filled elsewhere, while it is read.
TEST_P(ReaderPlace, WhatIsOutsideWhenTheReadingEndsIsNotEnded) {
  const std::string content = Pattern(0, 12 * kPieceBytes);
  MakeDirectory("d");
  Write("d/f", content);
  Sync();
  Evict("d/f");
  reader()->Submit({.id = Id("d/f"), .content = true, .names = {{Id("d"), "f"}}});
  ASSERT_TRUE(std::holds_alternative<Begin>(reader()->Next()));
  Move("d", Outside("d"));
  WriteAt(Create(Outside("d/f")).get(), content.size() - 6, "secret");
  EXPECT_TRUE(TakeResult(reader(), /*from_the_midst=*/true).moved);
}

// At the moment of the look it was there, and it holds what it held then.
TEST_P(ReaderPlace, WhatGoesUnchangedWhileItIsReadIsGivenAsItWas) {
  const std::string content = Pattern(0, 3 * kPieceBytes);
  MakeDirectory("d");
  Write("d/f", content);
  const auto ctime = Stat("d/f").ctime;
  while (os::IsRacy(ctime, os::RealtimeNs(), os::RealtimeNs())) ::usleep(10'000);
  reader()->Submit({.id = Id("d/f"), .content = true});
  ASSERT_TRUE(std::holds_alternative<Begin>(reader()->Next()));
  Move("d", Outside("d"));
  const Result result = TakeResult(reader(), /*from_the_midst=*/true);
  EXPECT_TRUE(result.end.has_value());
  EXPECT_EQ(result.data.size(), content.size());
}

class ReaderSelection : public ReaderPlace {
 protected:
  Belongs belongs() override {
    return [](const std::string& path, bool) { return !path.starts_with("excluded/"); };
  }
};

TEST_P(ReaderSelection, WhatLiesWhereNothingBelongsToTheJobIsNotGiven) {
  MakeDirectory("d");
  MakeDirectory("excluded");
  Write("d/f", "ours");
  const Request request = {.id = Id("d/f"), .content = true, .names = {{Id("d"), "f"}}, .path = "d/f"};
  EXPECT_EQ(Read(request).data, "ours");
  Move("d", "excluded/d");
  EXPECT_TRUE(Read(request).moved);
  // One name of two is enough, whichever the kernel comes upon.
  const model::FileId root = Id("");
  ASSERT_EQ(::link(At("excluded/d/f").c_str(), At("f").c_str()), 0);
  Move("excluded/d/f", "excluded/f");
  EXPECT_EQ(Read({.id = request.id, .content = true, .names = {{root, "f"}}, .path = "g"}).data, "ours");
  ASSERT_EQ(::unlink(At("f").c_str()), 0);
  EXPECT_TRUE(Read({.id = request.id, .content = true, .names = {{root, "f"}}, .path = "g"}).moved);
  Move("excluded/f", "excluded/d/f");
  Move("excluded/d", "e");
  EXPECT_EQ(Read(request).data, "ours");
}

FANMIRROR_ON_ALL_FILESYSTEMS(ReaderPlace);
FANMIRROR_ON_ALL_FILESYSTEMS(ReaderSelection);

}  // namespace
}  // namespace fanmirror::read
