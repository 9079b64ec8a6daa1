// A source that says what no source says: the connection ends with a reason, or the one op fails, and what the receiver
// holds stays bounded.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <memory>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "apply/testing/scripted_source.h"
#include "messages.pb.h"
#include "os/testing/filesystem.h"

namespace fanmirror::apply {
namespace {

// The address sanitizer keeps 256 MiB of freed memory in a quarantine, the thread sanitizer what threads did to each byte.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

using model::Op;
using testing::ScriptedSource;

// Of the receiver, in KiB, at its highest.
long PeakMemoryKib(pid_t pid) {
  std::ifstream status(absl::StrCat("/proc/", pid, "/status"));
  for (std::string line; std::getline(status, line);) {
    if (absl::StartsWith(line, "VmHWM:")) return std::stol(line.substr(6));
  }
  return -1;
}

std::string Frame(wire::FrameType type, const google::protobuf::MessageLite& message) {
  std::string out;
  wire::AppendFrame(type, message.SerializeAsString(), &out);
  return out;
}

wire::pb::Op PutOf(const std::string& path) {
  wire::pb::Op op;
  op.set_kind(static_cast<std::uint32_t>(Op::Kind::kPut));
  op.set_path(path);
  op.mutable_metadata()->set_type(static_cast<std::uint32_t>(model::NodeType::kRegular));
  return op;
}

class HostileSource : public ::testing::Test {
 protected:
  // What ends the connection when `said` comes within a batch, or between two.
  std::string Ends(const std::string& said, bool in_batch = true) {
    ScriptedSource source(root_);
    EXPECT_TRUE(source.Greet().has_value());
    if (in_batch) source.Begin(++batch_);
    source.Raw(said);
    source.Flush();
    EXPECT_EQ(source.Wait(), 1);
    return source.Complaint();
  }
  static std::string Asks(const std::string& path, std::uint64_t bytes_per_second = 0) {
    std::string frame;
    wire::AppendHashFile({.id = 1, .path = path, .bytes_per_second = bytes_per_second}, &frame);
    return frame;
  }
  bool Exists(const std::string& path) const {
    struct stat st {};
    return lstat((root_ + "/" + path).c_str(), &st) == 0;
  }

  std::unique_ptr<os::testing::ScopedDirectory> scratch_ = *os::testing::ScopedDirectory::Create();
  std::string root_ = scratch_->path() + "/root";
  std::uint64_t batch_ = 0;
};

TEST_F(HostileSource, NamesPathsThatLeaveTheRoot) {
  for (const std::string& path : {std::string("../x"), std::string("/etc/x"), std::string("a/../../x"), std::string("a//x"),
                                  std::string("."), std::string("a/"), std::string("a\0x", 3), std::string(256, 'n'),
                                  std::string(wire::kMaxPathBytes + 2, 'n')}) {
    EXPECT_TRUE(absl::StrContains(Ends(Frame(wire::FrameType::kOp, PutOf(path))), "malformed Op")) << path.substr(0, 20);
  }
  EXPECT_FALSE(Exists("../x"));
}

TEST_F(HostileSource, AsksForFilesThatLeaveTheRoot) {
  for (const std::string& path : {std::string(".."), std::string("../x"), std::string("/etc/shadow"), std::string("a/../../x"),
                                  std::string("a//x"), std::string("a\0x", 3), std::string(wire::kMaxPathBytes + 2, 'n')}) {
    EXPECT_TRUE(absl::StrContains(Ends(Asks(path), /*in_batch=*/false), "malformed HashFile")) << path.substr(0, 20);
  }
}

// Each holds a file open. The first is read so slowly that none is answered meanwhile, and does not hold up the end.
TEST_F(HostileSource, AsksForFilesWithoutWaitingForAnswers) {
  {
    ScriptedSource source(root_);
    ASSERT_TRUE(source.Greet().has_value());
    source.Begin(++batch_);
    source.Put("file", "content");
    ASSERT_TRUE(source.EndAndWait().failures.empty());
    ASSERT_EQ(source.Close(), 0);
  }
  std::string questions;
  for (std::size_t i = 0; i <= wire::kMaxHashFiles; ++i) questions += Asks("file", /*bytes_per_second=*/1);
  const std::string why = absl::StrCat("more than ", wire::kMaxHashFiles, " files to be hashed");
  EXPECT_TRUE(absl::StrContains(Ends(questions, /*in_batch=*/false), why));
}

TEST_F(HostileSource, DescribesWhatCannotBe) {
  wire::pb::Op op = PutOf("f");
  op.mutable_metadata()->set_size(std::uint64_t{1} << 63);
  EXPECT_TRUE(absl::StrContains(Ends(Frame(wire::FrameType::kOp, op)), "size beyond 2^63"));
  op = PutOf("f");
  op.mutable_metadata()->set_type(99);
  EXPECT_TRUE(absl::StrContains(Ends(Frame(wire::FrameType::kOp, op)), "unknown node type 99"));
  op = PutOf("f");
  op.mutable_metadata()->set_type(static_cast<std::uint32_t>(model::NodeType::kBlockDevice));
  EXPECT_TRUE(absl::StrContains(Ends(Frame(wire::FrameType::kOp, op)), "put of no regular file"));
  op = PutOf("f");
  for (std::size_t i = 0; i < wire::kMaxPayloadBytes / 3; ++i) op.mutable_metadata()->add_xattrs();
  EXPECT_TRUE(absl::StrContains(Ends(Frame(wire::FrameType::kOp, op)), "too many xattrs"));
  EXPECT_TRUE(absl::StrContains(Ends(std::string("\xff\xff\xff\xff\x05", 5)), "no frame"));
  wire::pb::BatchEnd end;
  end.set_number(UINT64_MAX);
  EXPECT_TRUE(absl::StrContains(Ends(Frame(wire::FrameType::kBatchEnd, end)), "BatchEnd 18446744073709551615"));
}

TEST_F(HostileSource, SendsDataBeyondAllBounds) {
  const std::string put = Frame(wire::FrameType::kOp, PutOf("f"));
  std::string data;
  wire::AppendData(UINT64_MAX, "x", &data);
  EXPECT_TRUE(absl::StrContains(Ends(put + data), "offset beyond 2^63"));
  data.clear();
  wire::AppendData(100, "x", &data);
  wire::AppendData(99, "x", &data);
  EXPECT_TRUE(absl::StrContains(Ends(put + data), "Data for offset 99"));
  // Larger than any file may be, or than it was said to be: the one op fails, and nothing is left of it.
  ScriptedSource source(root_);
  ASSERT_TRUE(source.Greet().has_value());
  source.Begin(++batch_);
  source.BeginPut("huge", {});
  source.Data(INT64_MAX - 10, "x");
  source.EndPut({1, 2});
  source.BeginPut("longer", {});
  source.Data(0, "longer than it was said to be");
  source.EndPut({1, 2});
  source.Put("good", "content");
  const wire::Ack ack = source.EndAndWait();
  ASSERT_EQ(ack.failures.size(), 2u);
  EXPECT_FALSE(Exists("huge"));
  EXPECT_FALSE(Exists("longer"));
  EXPECT_TRUE(Exists("good"));
  EXPECT_EQ(source.Close(), 0);
}

// What fails is remembered within bounds, and so are the reports of it.
TEST_F(HostileSource, LetsEverythingFail) {
  ScriptedSource source(root_);
  ASSERT_TRUE(source.Greet().has_value());
  const std::string deep = "no/" + std::string(200, 'd') + "/" + std::string(200, 'e') + "/";
  source.Begin(1);
  source.Put("first", "x");
  ASSERT_TRUE(source.EndAndWait().failures.empty());
  const long before = PeakMemoryKib(source.pid());
  for (std::uint64_t batch = 2; batch < 4; ++batch) {
    source.Begin(batch);
    for (std::uint32_t i = 0; i < wire::kMaxBatchOps / 2; ++i) {
      source.Change(Op::Kind::kRename, absl::StrCat(deep, batch, ".", i), deep + "from");
      if (i % 1000 == 0) source.Flush();
    }
    const wire::Ack ack = source.EndAndWait();
    EXPECT_EQ(ack.failures.size(), wire::kMaxBatchOps / 2);
  }
  EXPECT_GT(before, 0);
  EXPECT_LT(PeakMemoryKib(source.pid()) - before, (200 << 10) * (kSanitized ? 3 : 1));
  EXPECT_EQ(source.Close(), 0);
}

}  // namespace
}  // namespace fanmirror::apply
