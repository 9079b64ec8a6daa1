#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <map>
#include <sstream>

#include "apply/staged_files.h"
#include "apply/testing/scripted_source.h"
#include "hash/content_hasher.h"
#include "os/testing/filesystem.h"

namespace fanmirror::apply {
namespace {

using Kind = model::Op::Kind;
using model::NodeType;
using model::Reaction;
using testing::ScriptedSource;

// One filesystem of each type for the whole program; every test has a directory of its own on it.
class Filesystems : public ::testing::Environment {
 public:
  static os::testing::ScopedFilesystem* Get(const std::string& type) {
    auto& one = all()[type];
    if (one == nullptr) {
      auto made = os::testing::ScopedFilesystem::Create(type);
      EXPECT_TRUE(made.ok()) << made.status();
      if (made.ok()) one = *std::move(made);
    }
    return one.get();
  }
  void TearDown() override { all().clear(); }

 private:
  static std::map<std::string, std::unique_ptr<os::testing::ScopedFilesystem>>& all() {
    static auto* map = new std::map<std::string, std::unique_ptr<os::testing::ScopedFilesystem>>;
    return *map;
  }
};
[[maybe_unused]] const auto* const kFilesystems = ::testing::AddGlobalTestEnvironment(new Filesystems);

class Ops : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (!os::testing::IsRoot()) GTEST_SKIP() << "needs root to mount filesystems and to make devices";
    os::testing::ScopedFilesystem* filesystem = Filesystems::Get(GetParam());
    ASSERT_NE(filesystem, nullptr);
    base_ = filesystem->path() + "/" + ::testing::UnitTest::GetInstance()->current_test_info()->name();
    for (char& c : base_) {
      if (c == '/' && &c > &base_[filesystem->path().size()]) c = '_';
    }
    ASSERT_EQ(mkdir(base_.c_str(), 0755), 0);
    root_ = base_ + "/root";
    source_ = std::make_unique<ScriptedSource>(root_);
    const auto reply = source_->Greet();
    ASSERT_TRUE(reply.has_value());
    ASSERT_EQ(reply->refusal, "");
    source_->Begin(1);
  }

  void TearDown() override {
    if (source_ == nullptr) return;
    if (source_->in_batch()) source_->EndAndWait();
    EXPECT_EQ(source_->Close(), 0) << source_->Complaint();
  }

  std::string At(const std::string& path) const { return root_ + "/" + path; }

  // Ends the batch, which must have no failures.
  void Apply() {
    const wire::Ack ack = source_->EndAndWait();
    for (const auto& failure : ack.failures) ADD_FAILURE() << failure.index << ": " << failure.message;
    source_->Begin(ack.number + 1);
  }
  // Ends the batch, which must have one failure.
  wire::OpFailure Fails() {
    const wire::Ack ack = source_->EndAndWait();
    source_->Begin(ack.number + 1, ack.number);
    EXPECT_EQ(ack.failures.size(), 1u);
    if (ack.failures.empty()) return {};
    EXPECT_EQ(ack.failures[0].message.find('\n'), std::string::npos);
    return ack.failures[0];
  }

  // XFS takes 1,024 bytes.
  static std::string Dangling() {
    return "/dangling/" + std::string(GetParam() == "xfs" ? 1'000 : 4'000, 'x');
  }
  std::string Read(const std::string& path) const {
    std::ifstream file(At(path), std::ios::binary);
    std::stringstream content;
    content << file.rdbuf();
    return content.str();
  }
  struct stat Stat(const std::string& path) const {
    struct stat st {};
    EXPECT_EQ(lstat(At(path).c_str(), &st), 0) << path;
    return st;
  }
  bool Exists(const std::string& path) const {
    struct stat st {};
    return lstat(At(path).c_str(), &st) == 0;
  }
  std::map<std::string, std::string> Xattrs(const std::string& path) const {
    std::map<std::string, std::string> all;
    std::string names(65536, '\0');
    const ssize_t size = llistxattr(At(path).c_str(), names.data(), names.size());
    for (const char* name = names.data(); name < names.data() + size; name += strlen(name) + 1) {
      std::string value(65536, '\0');
      const ssize_t length = lgetxattr(At(path).c_str(), name, value.data(), value.size());
      value.resize(length < 0 ? 0 : static_cast<std::size_t>(length));
      all[name] = value;
    }
    return all;
  }
  void ExpectMetadata(const std::string& path, const model::Metadata& metadata) const {
    const struct stat st = Stat(path);
    if (metadata.type != NodeType::kSymlink) {
      EXPECT_EQ(st.st_mode & 07777, metadata.mode) << path;
    }
    EXPECT_EQ(st.st_uid, metadata.uid) << path;
    EXPECT_EQ(st.st_gid, metadata.gid) << path;
    EXPECT_EQ(st.st_mtim.tv_sec, metadata.mtime.seconds) << path;
    EXPECT_EQ(st.st_mtim.tv_nsec, metadata.mtime.nanoseconds) << path;
    if (metadata.type == NodeType::kCharDevice || metadata.type == NodeType::kBlockDevice) {
      EXPECT_EQ(st.st_rdev, makedev(metadata.device_major, metadata.device_minor)) << path;
    }
  }

  std::string base_;
  std::string root_;
  std::unique_ptr<ScriptedSource> source_;
};

model::Metadata Like(NodeType type, std::uint32_t mode) {
  model::Metadata metadata;
  metadata.type = type;
  metadata.mode = mode;
  metadata.uid = 1234;
  metadata.gid = 5678;
  metadata.mtime = {1'500'000'000, 123'456'789};
  return metadata;
}

// user::rw- user:1000:rwx group::r-- mask::rwx other::r--
std::string SomeAcl() {
  const auto entry = [](std::uint16_t tag, std::uint16_t perm, std::uint32_t id) {
    std::string out;
    for (int i = 0; i < 2; ++i) out.push_back(static_cast<char>(tag >> (8 * i)));
    for (int i = 0; i < 2; ++i) out.push_back(static_cast<char>(perm >> (8 * i)));
    for (int i = 0; i < 4; ++i) out.push_back(static_cast<char>(id >> (8 * i)));
    return out;
  };
  return std::string("\2\0\0\0", 4) + entry(1, 6, ~0u) + entry(2, 7, 1000) + entry(4, 4, ~0u) +
         entry(0x10, 7, ~0u) + entry(0x20, 4, ~0u);
}

// cap_net_raw+ep
std::string SomeCapability() { return std::string("\1\0\0\2\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20); }

TEST_P(Ops, EveryNodeTypeWithAllItsMetadata) {
  const std::vector<model::Xattr> trusted = {{"trusted.t", "value"}};
  for (const std::uint32_t mode : {0u, 0644u, 04755u, 02775u, 01777u}) {
    const std::string suffix = std::to_string(mode);
    const auto regular = Like(NodeType::kRegular, mode);
    source_->Put("file" + suffix, "content", regular, trusted);
    source_->Make("dir" + suffix, Like(NodeType::kDirectory, mode), trusted);
    source_->Make("fifo" + suffix, Like(NodeType::kFifo, mode), trusted);
    source_->Make("socket" + suffix, Like(NodeType::kSocket, mode), trusted);
    model::Metadata device = Like(NodeType::kCharDevice, mode);
    device.device_major = 1;
    device.device_minor = 3;
    source_->Make("char" + suffix, device, trusted);
    device.type = NodeType::kBlockDevice;
    device.device_minor = 262'143;
    source_->Make("block" + suffix, device, trusted);
  }
  source_->Make("symlink", Like(NodeType::kSymlink, 0777), trusted, Dangling());
  Apply();
  for (const std::uint32_t mode : {0u, 0644u, 04755u, 02775u, 01777u}) {
    const std::string suffix = std::to_string(mode);
    ExpectMetadata("file" + suffix, Like(NodeType::kRegular, mode));
    ExpectMetadata("dir" + suffix, Like(NodeType::kDirectory, mode));
    ExpectMetadata("fifo" + suffix, Like(NodeType::kFifo, mode));
    ExpectMetadata("socket" + suffix, Like(NodeType::kSocket, mode));
    model::Metadata device = Like(NodeType::kCharDevice, mode);
    device.device_major = 1;
    device.device_minor = 3;
    ExpectMetadata("char" + suffix, device);
    device.device_minor = 262'143;
    device.type = NodeType::kBlockDevice;
    ExpectMetadata("block" + suffix, device);
    for (const std::string kind : {"file", "dir", "fifo", "socket", "char", "block"}) {
      EXPECT_EQ(Xattrs(kind + suffix)["trusted.t"], "value") << kind;
    }
  }
  ExpectMetadata("symlink", Like(NodeType::kSymlink, 0777));
  EXPECT_EQ(Xattrs("symlink")["trusted.t"], "value");
  std::string target(5000, '\0');
  EXPECT_EQ(readlink(At("symlink").c_str(), target.data(), target.size()),
            static_cast<ssize_t>(Dangling().size()));
  EXPECT_EQ(Read("file420"), "content");
}

TEST_P(Ops, XattrsAclsAndCapabilities) {
  const auto file = Like(NodeType::kRegular, 0674);
  const std::vector<model::Xattr> some = {{"security.capability", SomeCapability()},
                                          {"system.posix_acl_access", SomeAcl()},
                                          {"user.empty", ""},
                                          {"user.other", std::string("\0\n\xff", 3)}};
  source_->Put("f", "x", file, some);
  const auto dir = Like(NodeType::kDirectory, 0755);
  source_->Make("d", dir, {{"system.posix_acl_default", SomeAcl()}, {"user.d", "1"}});
  source_->Put("d/inherits", "x", Like(NodeType::kRegular, 0600));
  source_->Make("d/sub", dir);
  Apply();
  auto found = Xattrs("f");
  for (const auto& xattr : some) {
    ASSERT_EQ(found.count(xattr.name), 1u) << xattr.name;
    EXPECT_EQ(found[xattr.name], xattr.value) << xattr.name;
  }
  ExpectMetadata("f", file);
  EXPECT_EQ(Xattrs("d")["system.posix_acl_default"], SomeAcl());
  EXPECT_TRUE(Xattrs("d/inherits").empty());
  EXPECT_TRUE(Xattrs("d/sub").empty());
  ExpectMetadata("d/inherits", Like(NodeType::kRegular, 0600));

  // Exactly what is listed: the others go, also when the owner changes.
  auto changed = Like(NodeType::kRegular, 0640);
  changed.uid = 0;
  source_->SetMetadata("f", changed, {{"user.other", "new"}, {"security.capability", SomeCapability()}});
  source_->SetMetadata("d", dir, {});
  Apply();
  found = Xattrs("f");
  EXPECT_EQ(found.size(), 2u);
  EXPECT_EQ(found["user.other"], "new");
  EXPECT_EQ(found["security.capability"], SomeCapability());
  ExpectMetadata("f", changed);
  EXPECT_TRUE(Xattrs("d").empty());
}

TEST_P(Ops, SetMetadataOfEveryType) {
  source_->Put("f", "x", Like(NodeType::kRegular, 0600));
  source_->Directory("d");
  source_->Make("l", Like(NodeType::kSymlink, 0777), {}, "f");
  source_->Make("p", Like(NodeType::kFifo, 0600));
  Apply();
  const auto change = [](NodeType type) {
    model::Metadata metadata = Like(type, 04711);
    metadata.uid = 77;
    metadata.gid = 0;
    metadata.mtime = {-5, 1};
    if (type == NodeType::kDirectory) metadata.mtime = {5'000'000'000, 999'999'999};
    return metadata;
  };
  source_->SetMetadata("f", change(NodeType::kRegular));
  source_->SetMetadata("d", change(NodeType::kDirectory));
  source_->SetMetadata("l", change(NodeType::kSymlink), {{"trusted.x", "y"}});
  source_->SetMetadata("p", change(NodeType::kFifo));
  source_->SetMetadata("", change(NodeType::kDirectory));
  Apply();
  ExpectMetadata("f", change(NodeType::kRegular));
  ExpectMetadata("d", change(NodeType::kDirectory));
  ExpectMetadata("l", change(NodeType::kSymlink));
  EXPECT_EQ(Xattrs("l")["trusted.x"], "y");
  EXPECT_EQ(Stat("f").st_mode & 07777, 04711u);
  ExpectMetadata("p", change(NodeType::kFifo));
  ExpectMetadata("", change(NodeType::kDirectory));
  EXPECT_EQ(Stat(".fanmirror").st_mode & 07777, 0700u);
  source_->SetMetadata("f", change(NodeType::kFifo));
  EXPECT_EQ(Fails().reaction, Reaction::kLookAgain);
}

TEST_P(Ops, SparseLargeAndEmptyFiles) {
  auto metadata = Like(NodeType::kRegular, 0644);
  metadata.size = 6'000'000'000;
  source_->BeginPut("sparse", metadata);
  hash::ContentHasher hasher;
  const std::string block(8192, 'b');
  for (const std::uint64_t offset : {std::uint64_t{1} << 20, std::uint64_t{5'000'003'584}}) {
    source_->Data(offset, block);
    hasher.Add(offset, block);
  }
  source_->EndPut(hasher.Finish(metadata.size));
  source_->Put("empty", "", Like(NodeType::kRegular, 0644));
  std::string content(20'000'003, '\0');
  for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 7 + i / 4099);
  source_->Put("large", content, Like(NodeType::kRegular, 0644));
  Apply();
  EXPECT_EQ(Stat("sparse").st_size, 6'000'000'000);
  EXPECT_LT(Stat("sparse").st_blocks, 1024);
  EXPECT_EQ(Stat("empty").st_size, 0);
  EXPECT_TRUE(Read("large") == content);
  ExpectMetadata("large", Like(NodeType::kRegular, 0644));
}

TEST_P(Ops, PutReplacesWhatIsNoDirectory) {
  source_->Put("f", "old");
  source_->Change(Kind::kLink, "other", "f");
  source_->Put("f", "new");
  source_->Make("l", Like(NodeType::kSymlink, 0777), {}, "f");
  source_->Put("l", "file now");
  source_->Make("f2", Like(NodeType::kFifo, 0644));
  source_->Make("f2", Like(NodeType::kSymlink, 0777), {}, "x");
  Apply();
  EXPECT_EQ(Read("f"), "new");
  EXPECT_EQ(Read("other"), "old");
  EXPECT_EQ(Read("l"), "file now");
  EXPECT_TRUE(S_ISREG(Stat("l").st_mode));
  EXPECT_TRUE(S_ISLNK(Stat("f2").st_mode));
  source_->Directory("d");
  source_->Put("d", "in the way");
  EXPECT_EQ(Fails().reaction, Reaction::kLookAgain);
  source_->Put("f/below", "no directory");
  EXPECT_EQ(Fails().reaction, Reaction::kLookAgain);
  source_->Put("nowhere/f", "x");
  EXPECT_EQ(Fails().reaction, Reaction::kLookAgain);
}

// Complete files get their names many at a time; nobody who comes after them sees that.
TEST_P(Ops, AFileHasItsPlaceForTheOpsAfterIt) {
  constexpr int kFiles = StagedFiles::kMaxFiles * 2 + 10;
  const model::Metadata directory = Like(NodeType::kDirectory, 0755);
  source_->Directory("d");
  source_->Directory("in the way");
  for (int i = 0; i < kFiles; ++i) source_->Put("d/" + std::to_string(i), "content " + std::to_string(i));
  source_->SetMetadata("d", directory);  // the mtime is that of the last op
  source_->Change(Kind::kRename, "d/0 moved", "d/0");
  source_->Put("d/1", "again");
  source_->Put("in the way", "fails when it gets its name");
  source_->Make("nowhere/x", directory);  // fails at once
  source_->Put("last", "x");
  source_->Change(Kind::kRename, "moved", "d");
  source_->SetMetadata("moved", directory);
  const wire::Ack ack = source_->EndAndWait();
  ASSERT_EQ(ack.failures.size(), 2u);
  EXPECT_EQ(ack.failures[0].index + 1, ack.failures[1].index) << "failures come in the order of the ops";
  EXPECT_EQ(Read("moved/0 moved"), "content 0");
  EXPECT_EQ(Read("moved/1"), "again");
  EXPECT_EQ(Read("moved/" + std::to_string(kFiles - 1)), "content " + std::to_string(kFiles - 1));
  EXPECT_FALSE(Exists("moved/0"));
  EXPECT_EQ(Read("last"), "x");
  ExpectMetadata("moved", directory);
}

// A directory that the source does not know of may hold what it does not know of: it must be listed first.
TEST_P(Ops, MakeIsRefusedWhereADirectoryIs) {
  source_->Directory("d");
  source_->Put("d/f", "x");
  Apply();
  source_->Make("d", Like(NodeType::kDirectory, 02770), {{"user.x", "y"}});
  EXPECT_EQ(Fails().reaction, Reaction::kLookAgain);
  EXPECT_EQ(Read("d/f"), "x");
  source_->Make("d/f", Like(NodeType::kDirectory, 0755));
  EXPECT_EQ(Fails().reaction, Reaction::kLookAgain);
  EXPECT_EQ(Read("d/f"), "x");
}

TEST_P(Ops, Links) {
  source_->Put("a", "1");
  source_->Put("b", "2");
  source_->Make("l", Like(NodeType::kSymlink, 0777), {}, "a");
  source_->Change(Kind::kLink, "new", "a");
  source_->Change(Kind::kLink, "b", "a");
  source_->Change(Kind::kLink, "b", "a");  // is already
  source_->Change(Kind::kLink, "l2", "l");
  Apply();
  EXPECT_EQ(Stat("a").st_nlink, 3u);
  EXPECT_EQ(Stat("b").st_ino, Stat("a").st_ino);
  EXPECT_EQ(Stat("l2").st_ino, Stat("l").st_ino);
  source_->Directory("d");
  source_->Change(Kind::kLink, "d", "a");
  EXPECT_EQ(Fails().reaction, Reaction::kLookAgain);
  source_->Change(Kind::kLink, "x", "d");
  EXPECT_EQ(Fails().reaction, Reaction::kLookAgain);
  source_->Change(Kind::kLink, "x", "gone");
  EXPECT_EQ(Fails().reaction, Reaction::kLookAgain);
  EXPECT_TRUE(Exists("a"));
  EXPECT_FALSE(Exists("x"));
}

TEST_P(Ops, Renames) {
  source_->Put("a", "1");
  source_->Put("b", "2");
  source_->Change(Kind::kRename, "b", "a");
  source_->Directory("d");
  source_->Put("d/f", "3");
  source_->Change(Kind::kRename, "d/g", "d/f");  // d is in the cache of directories now
  source_->Change(Kind::kRename, "e", "d");
  source_->Directory("d");
  source_->Put("d/new", "4");
  Apply();
  EXPECT_FALSE(Exists("a"));
  EXPECT_EQ(Read("b"), "1");
  EXPECT_EQ(Read("e/g"), "3");
  EXPECT_EQ(Read("d/new"), "4");
  EXPECT_FALSE(Exists("e/new"));

  source_->Change(Kind::kLink, "same", "b");
  source_->Change(Kind::kRename, "same", "b");
  Apply();
  EXPECT_FALSE(Exists("b"));
  EXPECT_EQ(Read("same"), "1");

  source_->Directory("empty");
  source_->Change(Kind::kRename, "empty", "d");
  EXPECT_EQ(Fails().reaction, Reaction::kLookAgain);
  EXPECT_TRUE(Exists("d/new"));
  source_->Change(Kind::kRename, "same", "d");
  EXPECT_EQ(Fails().reaction, Reaction::kLookAgain);
  source_->Change(Kind::kRename, "d", "same");
  EXPECT_EQ(Fails().reaction, Reaction::kLookAgain);
  source_->Change(Kind::kRename, "d/below", "d");
  EXPECT_EQ(Fails().reaction, Reaction::kLookAgain);
  source_->Change(Kind::kRename, "x", "gone");
  EXPECT_EQ(Fails().reaction, Reaction::kLookAgain);
  EXPECT_EQ(Read("same"), "1");
}

TEST_P(Ops, Exchanges) {
  source_->Put("a", "1");
  source_->Directory("d");
  source_->Put("d/f", "2");
  source_->Directory("e");
  source_->Put("e/f", "3");
  source_->Change(Kind::kExchange, "a", "d");
  source_->Change(Kind::kExchange, "a", "e");
  source_->Put("a/g", "in a");
  Apply();
  EXPECT_EQ(Read("d"), "1");
  EXPECT_EQ(Read("a/f"), "3");
  EXPECT_EQ(Read("e/f"), "2");
  EXPECT_EQ(Read("a/g"), "in a");
  source_->Change(Kind::kExchange, "a", "gone");
  EXPECT_EQ(Fails().reaction, Reaction::kLookAgain);
  source_->Change(Kind::kExchange, "a/f", "a");
  EXPECT_EQ(Fails().reaction, Reaction::kLookAgain);
}

TEST_P(Ops, Removes) {
  source_->Put("f", "1");
  source_->Directory("d");
  source_->Put("d/f", "1");
  Apply();
  source_->Change(Kind::kRemove, "f");
  source_->Change(Kind::kRemove, "gone");
  source_->Change(Kind::kRemove, "gone/too");
  source_->Change(Kind::kRemove, "d/f/below");
  Apply();
  EXPECT_FALSE(Exists("f"));
  source_->Change(Kind::kRemove, "d");
  const wire::OpFailure failure = Fails();
  EXPECT_EQ(failure.reaction, Reaction::kSkipAndReport);
  EXPECT_NE(failure.message.find("did not put there"), std::string::npos) << failure.message;
  source_->Change(Kind::kRemove, "d/f");
  source_->Change(Kind::kRemove, "d");
  source_->Directory("d");
  source_->Put("d/f", "2");
  Apply();
  EXPECT_EQ(Read("d/f"), "2");
}

TEST_P(Ops, LimboIsReachableAndTheRestOfOursIsNot) {
  source_->Directory("d");
  source_->Put("d/f", "1");
  source_->Change(Kind::kRename, ".fanmirror/limbo/0a", "d");
  source_->Put(".fanmirror/limbo/0a/g", "2");
  source_->Change(Kind::kRename, "e", ".fanmirror/limbo/0a");
  Apply();
  EXPECT_EQ(Read("e/f"), "1");
  EXPECT_EQ(Read("e/g"), "2");
  for (const std::string path :
       {".fanmirror", ".fanmirror/marker", ".fanmirror/limbo", ".fanmirror/staging/x"}) {
    source_->Change(Kind::kRemove, path);
    EXPECT_EQ(Fails().reaction, Reaction::kSkipAndReport) << path;
    source_->Put(path, "x");
    EXPECT_EQ(Fails().reaction, Reaction::kSkipAndReport) << path;
    source_->Change(Kind::kRename, "x", path);
    EXPECT_EQ(Fails().reaction, Reaction::kSkipAndReport) << path;
  }
  source_->Put(".fanmirrors", "free");
  source_->Directory("sub");
  source_->Put("sub/.fanmirror", "free");
  Apply();
}

TEST_P(Ops, NamesOfEveryByteAndPathsBeyondPathMax) {
  std::string all;
  for (int c = 1; c < 256; ++c) {
    if (c != '/') all.push_back(static_cast<char>(c));
  }
  source_->Put(all, "1");
  std::string deep = std::string(200, 'a');
  source_->Directory(deep);
  for (int i = 0; i < 40; ++i) {
    deep += "/" + std::string(200, 'b');
    source_->Directory(deep);
  }
  source_->Put(deep + "/f", "deep");
  source_->Change(Kind::kRename, deep + "/g", deep + "/f");
  EXPECT_TRUE(source_->EndAndWait().failures.empty());
  EXPECT_EQ(Read(all), "1");
  const auto listing = source_->List(deep, true);
  ASSERT_EQ(listing.size(), 1u);
  ASSERT_EQ(listing[0].entries.size(), 1u) << listing[0].error;
  EXPECT_EQ(listing[0].entries[0].name, "g");
  EXPECT_EQ(listing[0].entries[0].metadata.size, 4u);
}

TEST_P(Ops, SymlinksInTheTargetAreNeverFollowed) {
  ASSERT_EQ(mkdir((base_ + "/outside").c_str(), 0755), 0);
  std::ofstream(base_ + "/outside/f") << "precious";
  Apply();
  ASSERT_EQ(symlink((base_ + "/outside").c_str(), At("link").c_str()), 0);
  ASSERT_EQ(symlink("../outside/f", At("flink").c_str()), 0);
  const struct stat before = Stat("../outside/f");
  for (const auto& act : std::vector<std::function<void()>>{
           [&] { source_->Put("link/f", "evil"); },
           [&] { source_->Put("link/new", "evil"); },
           [&] { source_->Directory("link/dir"); },
           [&] { source_->Change(Kind::kRename, "stolen", "link/f"); },
           [&] { source_->Change(Kind::kLink, "stolen", "link/f"); },
           [&] { source_->SetMetadata("link/f", Like(NodeType::kRegular, 0777)); },
           [&] { source_->SetMetadata("flink", Like(NodeType::kRegular, 0777)); },
           [&] { source_->SetMetadata("link", Like(NodeType::kDirectory, 0777)); },
       }) {
    act();
    EXPECT_EQ(Fails().reaction, Reaction::kLookAgain);
  }
  // Nothing of ours is below a symlink: it is gone already.
  source_->Change(Kind::kRemove, "link/f");
  source_->Change(Kind::kRemove, "link/sub/f");
  // A put over the link replaces the link.
  source_->Put("flink", "mine");
  Apply();
  EXPECT_EQ(Read("flink"), "mine");
  EXPECT_EQ(Read("../outside/f"), "precious");
  const struct stat after = Stat("../outside/f");
  EXPECT_EQ(before.st_ctim.tv_nsec, after.st_ctim.tv_nsec);
  EXPECT_EQ(after.st_nlink, 1u);
  EXPECT_FALSE(Exists("../outside/new"));
}

TEST_P(Ops, MountsInTheTargetAreNeverEntered) {
  source_->Directory("mnt");
  Apply();
  ASSERT_TRUE(os::testing::RunCommand({"mount", "-t", "tmpfs", "none", At("mnt")}).ok());
  source_->Put("mnt/f", "x");
  EXPECT_EQ(Fails().reaction, Reaction::kSkipAndReport);
  source_->SetMetadata("mnt", Like(NodeType::kDirectory, 0700));
  EXPECT_EQ(Fails().reaction, Reaction::kSkipAndReport);
  source_->Change(Kind::kRemove, "mnt");
  const wire::OpFailure failure = Fails();
  EXPECT_EQ(failure.reaction, Reaction::kSkipAndReport) << failure.message;
  EXPECT_NE(failure.message.find("unmount"), std::string::npos) << failure.message;
  EXPECT_FALSE(Exists("mnt/f"));
  ASSERT_TRUE(os::testing::RunCommand({"umount", At("mnt")}).ok());
}

TEST_P(Ops, ImmutableAndAppendOnlyAreNamed) {
  source_->Put("f", "old");
  source_->Directory("d");
  source_->Put("d/f", "old");
  Apply();
  if (!os::testing::RunCommand({"chattr", "+i", At("f")}).ok())
    GTEST_SKIP() << GetParam() << " has no immutable files";
  ASSERT_TRUE(os::testing::RunCommand({"chattr", "+a", At("d")}).ok());
  source_->Put("f", "new");
  wire::OpFailure failure = Fails();
  EXPECT_EQ(failure.reaction, Reaction::kSkipAndReport);
  EXPECT_NE(failure.message.find("chattr -i 'f'"), std::string::npos) << failure.message;
  source_->Change(Kind::kRemove, "f");
  failure = Fails();
  EXPECT_NE(failure.message.find("chattr -i 'f'"), std::string::npos) << failure.message;
  source_->SetMetadata("f", Like(NodeType::kRegular, 0600));
  failure = Fails();
  EXPECT_EQ(failure.reaction, Reaction::kSkipAndReport);
  EXPECT_NE(failure.message.find("chattr -i 'f'"), std::string::npos) << failure.message;
  source_->Change(Kind::kRemove, "d/f");
  failure = Fails();
  EXPECT_EQ(failure.reaction, Reaction::kSkipAndReport);
  EXPECT_NE(failure.message.find("chattr -a 'd'"), std::string::npos) << failure.message;
  EXPECT_EQ(Read("f"), "old");
  ASSERT_TRUE(os::testing::RunCommand({"chattr", "-i", At("f")}).ok());
  ASSERT_TRUE(os::testing::RunCommand({"chattr", "-a", At("d")}).ok());
  source_->Put("f", "new");
  Apply();
  EXPECT_EQ(Read("f"), "new");
}

TEST_P(Ops, AnXattrThatDoesNotFitNamesItselfAndLeavesTheOthers) {
  source_->Put("big", "x", Like(NodeType::kRegular, 0644), {{"user.big", std::string(65'536, 'v')}});
  source_->Put("other", "y");
  const wire::Ack ack = source_->EndAndWait();
  source_->Begin(ack.number + 1, ack.number);
  EXPECT_EQ(Read("other"), "y");
  for (const wire::OpFailure& failure : ack.failures) {
    EXPECT_EQ(failure.index, 0u);
    EXPECT_EQ(failure.reaction, Reaction::kSkipAndReport);
    EXPECT_NE(failure.message.find("user.big"), std::string::npos) << failure.message;
    EXPECT_FALSE(Exists("big"));
  }
  if (GetParam() == "ext4") {
    EXPECT_EQ(ack.failures.size(), 1u);
  }
  EXPECT_EQ(Exists("big"), ack.failures.empty());
}

TEST_P(Ops, ADirectoryAppearsWithoutAnXattrThatDoesNotFit) {
  source_->Make("d", Like(NodeType::kDirectory, 0750), {{"user.big", std::string(65'536, 'v')}});
  source_->Put("d/f", "x");
  const wire::Ack ack = source_->EndAndWait();
  source_->Begin(ack.number + 1, ack.number);
  EXPECT_EQ(Read("d/f"), "x");
  for (const wire::OpFailure& failure : ack.failures) {
    EXPECT_EQ(failure.index, 0u);
    EXPECT_EQ(failure.reaction, Reaction::kSkipAndReport) << failure.message;
  }
  if (GetParam() == "ext4") {
    EXPECT_EQ(ack.failures.size(), 1u);
  }
  source_->Put("d/g", "y");
  Apply();
  EXPECT_EQ(Read("d/g"), "y");
}

TEST_P(Ops, AWrongHashFailsThatPutOnly) {
  source_->Put("before", "1");
  source_->Put("f", "old");
  source_->BeginPut("f", Like(NodeType::kRegular, 0644));
  source_->Data(0, "new");
  source_->EndPut({1, 2});
  source_->Put("after", "2");
  const wire::OpFailure failure = Fails();
  EXPECT_EQ(failure.index, 2u);
  EXPECT_EQ(failure.reaction, Reaction::kLookAgain);
  EXPECT_EQ(Read("f"), "old");
  EXPECT_EQ(Read("after"), "2");
  source_->BeginPut("f", Like(NodeType::kRegular, 0644));
  source_->Data(0, "new");
  source_->AbortPut();
  EXPECT_EQ(Fails().reaction, Reaction::kLookAgain);
  EXPECT_EQ(Read("f"), "old");
}

TEST_P(Ops, WhatWasPlannedOnAFailureIsNotTried) {
  source_->Put("d", "a file where the source believes a directory");
  Apply();
  source_->Put("d/f", "1");                    // 0 fails
  source_->Change(Kind::kRename, "g", "d/f");  // 1 poisoned
  source_->Put("g/below", "2");                // 2 poisoned
  source_->Change(Kind::kRemove, "d/f/x");     // 3 poisoned
  source_->Put("free", "3");
  wire::Ack ack = source_->EndAndWait();
  ASSERT_EQ(ack.failures.size(), 4u);
  for (std::uint32_t i = 0; i < 4; ++i) {
    EXPECT_EQ(ack.failures[i].index, i);
    EXPECT_EQ(ack.failures[i].reaction, Reaction::kLookAgain);
  }
  EXPECT_EQ(Read("free"), "3");
  // The source does not know yet.
  source_->Begin(ack.number + 1, ack.number - 1);
  source_->Put("g", "4");
  EXPECT_EQ(Fails().reaction, Reaction::kLookAgain);
  // Now it does.
  source_->Put("g", "5");
  Apply();
  EXPECT_EQ(Read("g"), "5");
}

TEST_P(Ops, PoisonMovesWithItsDirectory) {
  source_->Directory("a");
  source_->Directory("a/f");
  Apply();
  source_->Put("a/f", "1");                  // 0 fails: a directory
  source_->Change(Kind::kRename, "b", "a");  // done
  source_->Put("b/f/x", "2");                // 2 poisoned
  source_->Change(Kind::kRemove, "b");       // 3 not tried
  source_->Put("a", "free");
  const wire::Ack ack = source_->EndAndWait();
  source_->Begin(ack.number + 1, ack.number);
  ASSERT_EQ(ack.failures.size(), 3u);
  EXPECT_EQ(ack.failures[1].index, 2u);
  EXPECT_EQ(ack.failures[2].index, 3u);
  EXPECT_EQ(ack.failures[2].reaction, Reaction::kLookAgain);
  EXPECT_EQ(Read("a"), "free");
}

TEST_P(Ops, Listings) {
  source_->Directory("d");
  for (int i = 0; i < 2500; ++i) source_->Put("d/" + std::to_string(i), "x");
  source_->Make("l", Like(NodeType::kSymlink, 0777), {}, "d");
  source_->Change(Kind::kLink, "hard", "d/7");
  source_->EndAndWait();
  const auto place = source_->List("d", false);
  ASSERT_EQ(place.size(), 1u);
  EXPECT_TRUE(place[0].exists);
  EXPECT_EQ(place[0].self.metadata.type, NodeType::kDirectory);
  EXPECT_TRUE(place[0].entries.empty());
  std::map<std::string, wire::ListedEntry> found;
  const auto children = source_->List("d", true);
  EXPECT_GE(children.size(), 3u);
  for (const auto& listing : children) {
    EXPECT_EQ(listing.error, "");
    EXPECT_TRUE(listing.exists);
    for (const auto& entry : listing.entries) found[entry.name] = entry;
  }
  EXPECT_EQ(found.size(), 2500u);
  EXPECT_EQ(found["7"].metadata.links, 2u);
  EXPECT_EQ(found["7"].inode, source_->List("hard", false)[0].self.inode);
  EXPECT_EQ(found["7"].metadata.size, 1u);
  const auto root = source_->List("", true);
  ASSERT_EQ(root.size(), 1u);
  EXPECT_EQ(root[0].entries.size(), 3u);  // without .fanmirror
  EXPECT_FALSE(source_->List("gone", true)[0].exists);
  EXPECT_FALSE(source_->List("hard/below", true)[0].exists);
  EXPECT_EQ(source_->List("l", true)[0].self.metadata.type, NodeType::kSymlink);
  EXPECT_FALSE(source_->List("l/1", true)[0].exists);
  EXPECT_FALSE(source_->List("l/sub/1", true)[0].exists);
  ASSERT_TRUE(os::testing::RunCommand({"mount", "-t", "tmpfs", "none", At("d")}).ok());
  EXPECT_NE(source_->List("d", true)[0].error, "");
  EXPECT_NE(source_->List("d/1", false)[0].error, "");
  ASSERT_TRUE(os::testing::RunCommand({"umount", At("d")}).ok());
  EXPECT_TRUE(source_->Ping(42));
}

INSTANTIATE_TEST_SUITE_P(On, Ops, ::testing::ValuesIn(os::testing::AllFilesystems()),
                         [](const auto& parameter) { return parameter.param; });

}  // namespace
}  // namespace fanmirror::apply
