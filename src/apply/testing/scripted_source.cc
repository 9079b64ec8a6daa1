#include "apply/testing/scripted_source.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <utility>

#include "hash/content_hasher.h"
#include "apply/receiver.h"

namespace fanmirror::apply::testing {
namespace {

constexpr int kPatienceMs = 60'000;

std::pair<os::UniqueFd, os::UniqueFd> MakePipe() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) ADD_FAILURE() << "pipe2 failed";
  return {os::UniqueFd(ends[0]), os::UniqueFd(ends[1])};
}

}  // namespace

ScriptedSource::ScriptedSource(const std::string& root, const std::function<void()>& before)
    : decoder_(wire::Decoder::Start::kBeforeBanner) {
  signal(SIGPIPE, SIG_IGN);
  auto [child_in, to] = MakePipe();
  auto [from, child_out] = MakePipe();
  auto [complaint, child_complaint] = MakePipe();
  pid_ = fork();
  if (pid_ == 0) {
    to.reset();
    from.reset();
    if (before) before();
    const absl::Status status = RunReceiver({root, child_in.get(), child_out.get()});
    const std::string message(status.message());
    static_cast<void>(!write(child_complaint.get(), message.data(), message.size()));
    _exit(status.ok() ? 0 : 1);
  }
  to_ = std::move(to);
  from_ = std::move(from);
  complaint_ = std::move(complaint);
}

ScriptedSource::~ScriptedSource() {
  if (pid_ > 0) Kill(SIGKILL);
}

wire::Hello ScriptedSource::DefaultHello() {
  wire::Hello hello;
  hello.protocol = wire::kProtocol;
  hello.program = "test";
  hello.job = "job";
  hello.instance = "instance";
  hello.source = "host:/source";
  return hello;
}

std::optional<wire::HelloReply> ScriptedSource::Greet(const wire::Hello& hello) {
  wire::AppendHello(hello, &out_);
  Flush();
  const std::optional<wire::Frame> frame = Next();
  if (!frame || frame->type != wire::FrameType::kHelloReply) return std::nullopt;
  auto reply = wire::ParseHelloReply(frame->payload);
  EXPECT_TRUE(reply.ok()) << reply.status();
  if (!reply.ok()) return std::nullopt;
  return *std::move(reply);
}

void ScriptedSource::Begin(std::uint64_t number, std::uint64_t settled) {
  batch_ = number;
  in_batch_ = true;
  wire::AppendBatchBegin({number, settled}, &out_);
}

void ScriptedSource::End() {
  wire::AppendBatchEnd(batch_, &out_);
  in_batch_ = false;
}

void ScriptedSource::BeginPut(const std::string& path, model::Metadata metadata,
                              const std::vector<model::Xattr>& xattrs) {
  model::Op op;
  op.kind = model::Op::Kind::kPut;
  op.path = path;
  metadata.type = model::NodeType::kRegular;
  ASSERT_TRUE(wire::AppendOp(op, metadata, xattrs, {}, &out_).ok());
}

void ScriptedSource::Put(const std::string& path, std::string_view content, model::Metadata metadata,
                         const std::vector<model::Xattr>& xattrs) {
  metadata.size = content.size();
  BeginPut(path, metadata, xattrs);
  hash::ContentHasher hasher;
  for (std::size_t at = 0; at < content.size(); at += wire::kMaxDataBytes) {
    const std::string_view piece = content.substr(at, wire::kMaxDataBytes);
    Data(at, piece);
    hasher.Add(at, piece);
    if (out_.size() > 2 * wire::kMaxDataBytes) Flush();
  }
  EndPut(hasher.Finish(content.size()));
}

void ScriptedSource::Make(const std::string& path, const model::Metadata& metadata,
                          const std::vector<model::Xattr>& xattrs, const std::string& symlink_target) {
  model::Op op;
  op.kind = model::Op::Kind::kMake;
  op.path = path;
  const absl::Status status = wire::AppendOp(op, metadata, xattrs, symlink_target, &out_);
  ASSERT_TRUE(status.ok()) << status;
}

void ScriptedSource::Directory(const std::string& path) {
  model::Metadata metadata;
  metadata.type = model::NodeType::kDirectory;
  metadata.mode = 0755;
  Make(path, metadata);
}

void ScriptedSource::SetMetadata(const std::string& path, const model::Metadata& metadata,
                                 const std::vector<model::Xattr>& xattrs) {
  model::Op op;
  op.kind = model::Op::Kind::kSetMetadata;
  op.path = path;
  ASSERT_TRUE(wire::AppendOp(op, metadata, xattrs, {}, &out_).ok());
}

void ScriptedSource::Change(model::Op::Kind kind, const std::string& path, const std::string& from) {
  model::Op op;
  op.kind = kind;
  op.path = path;
  op.from = from;
  const absl::Status status = wire::AppendOp(op, &out_);
  ASSERT_TRUE(status.ok()) << status;
}

void ScriptedSource::Flush() {
  std::string_view rest = out_;
  while (!rest.empty()) {
    const ssize_t written = write(to_.get(), rest.data(), rest.size());
    if (written < 0) break;  // the receiver is gone: the next answer tells
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
  out_.clear();
}

std::optional<wire::Frame> ScriptedSource::Next() {
  Flush();
  for (;;) {
    auto frame = decoder_.Next();
    EXPECT_TRUE(frame.ok()) << frame.status();
    if (!frame.ok()) return std::nullopt;
    if (frame->has_value()) return **frame;
    pollfd ready{from_.get(), POLLIN, 0};
    if (poll(&ready, 1, kPatienceMs) <= 0) {
      ADD_FAILURE() << "the receiver is silent";
      return std::nullopt;
    }
    const absl::Span<char> space = decoder_.Space();
    const ssize_t size = read(from_.get(), space.data(), space.size());
    if (size <= 0) return std::nullopt;
    decoder_.Fed(static_cast<std::size_t>(size));
  }
}

wire::Ack ScriptedSource::WaitAck() {
  const std::optional<wire::Frame> frame = Next();
  if (!frame || frame->type != wire::FrameType::kAck) {
    ADD_FAILURE() << "no Ack, but " << (frame ? std::string(wire::FrameTypeName(frame->type)) : "the end");
    return {};
  }
  auto ack = wire::ParseAck(frame->payload);
  EXPECT_TRUE(ack.ok()) << ack.status();
  return ack.ok() ? *std::move(ack) : wire::Ack{};
}

wire::Ack ScriptedSource::EndAndWait() {
  End();
  wire::Ack ack = WaitAck();
  EXPECT_EQ(ack.number, batch_);
  return ack;
}

std::vector<wire::Listing> ScriptedSource::List(const std::string& path, bool children, bool by_pages) {
  std::vector<wire::Listing> listings;
  while (listings.empty() || !listings.back().last) {
    if (listings.empty() || by_pages) {
      const std::uint64_t after = listings.empty() ? 0 : listings.back().next;
      wire::AppendList({77, path, children, after, /*digests=*/true, by_pages}, &out_);
    }
    const std::optional<wire::Frame> frame = Next();
    if (!frame || frame->type != wire::FrameType::kListing) {
      ADD_FAILURE() << "no Listing";
      break;
    }
    auto listing = wire::ParseListing(frame->payload);
    if (!listing.ok()) {
      ADD_FAILURE() << listing.status();
      break;
    }
    EXPECT_EQ(listing->id, 77u);
    listings.push_back(*std::move(listing));
  }
  return listings;
}

std::optional<wire::FileHash> ScriptedSource::HashFile(const std::string& path) {
  wire::AppendHashFile({78, path}, &out_);
  const std::optional<wire::Frame> frame = Next();
  if (!frame || frame->type != wire::FrameType::kFileHash) return std::nullopt;
  auto hash = wire::ParseFileHash(frame->payload);
  EXPECT_TRUE(hash.ok()) << hash.status();
  if (!hash.ok()) return std::nullopt;
  EXPECT_EQ(hash->id, 78u);
  return *std::move(hash);
}

bool ScriptedSource::Ping(std::uint64_t id) {
  wire::AppendPing({id}, &out_);
  const std::optional<wire::Frame> frame = Next();
  if (!frame || frame->type != wire::FrameType::kPing) return false;
  const auto ping = wire::ParsePing(frame->payload);
  return ping.ok() && ping->id == id;
}

bool ScriptedSource::HearsPing() {
  const std::optional<wire::Frame> frame = Next();
  return frame && frame->type == wire::FrameType::kPing;
}

int ScriptedSource::Close() {
  Flush();
  to_.reset();
  return Wait();
}

void ScriptedSource::Kill(int signal) {
  kill(pid_, signal);
  Wait();
}

int ScriptedSource::Wait() {
  int status = 0;
  if (pid_ > 0) waitpid(pid_, &status, 0);
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

std::string ScriptedSource::Complaint() {
  std::array<char, 4096> buffer;
  const ssize_t size = read(complaint_.get(), buffer.data(), buffer.size());
  return size > 0 ? std::string(buffer.data(), static_cast<std::size_t>(size)) : std::string();
}

}  // namespace fanmirror::apply::testing
