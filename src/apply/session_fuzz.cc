#include <fcntl.h>
#include <fuzzer/FuzzedDataProvider.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>

#include "apply/root.h"
#include "apply/session.h"
#include "hash/content_hasher.h"
#include "messages.pb.h"
#include "wire/frame.h"

// A receiver on a root that others have been at, and a source that says anything. Frames are made of a few words, legal or
// not, so that most of what is tried gets beyond the parsers. Whatever comes: nothing outside the root changes, the answers
// and the memory stay bounded, and nothing of a put that did not end is under any name.
namespace {

using namespace fanmirror;  // NOLINT: a test program

constexpr int kMaxFrames = 64;  // of one input; more are the same again

// Says nothing to nobody, and counts.
class CountingOutput : public apply::Output {
 public:
  absl::Status Write(std::string_view bytes) override {
    bytes_ += bytes.size();
    return absl::OkStatus();
  }
  std::size_t bytes() const { return bytes_; }

 private:
  std::size_t bytes_ = 0;
};

// Acknowledges at once: power cuts are no part of this.
class PromptSyncer : public apply::Syncer {
 public:
  explicit PromptSyncer(Calls calls) : calls_(std::move(calls)) {}
  void Ended(wire::Ack ack) override {
    if (status_.ok()) status_ = calls_.acknowledge(ack);
  }
  absl::Status Drain() override { return status_; }
  int failed_fd() const override { return -1; }

 private:
  Calls calls_;
  absl::Status status_;
};

// The scratch directory of this process: outside/ with what must stay, and a root for each input.
class Place {
 public:
  Place() {
    const char* base = std::getenv("TEST_TMPDIR");
    path_ = std::string(base != nullptr ? base : "/dev/shm") + "/fanmirror-fuzz-XXXXXX";
    if (mkdtemp(path_.data()) == nullptr) std::abort();
    std::filesystem::create_directories(outside() + "/dir");
    std::ofstream(outside() + "/file") << "theirs";
    before_ = Outside();
    umask(0);
  }
  ~Place() { std::filesystem::remove_all(path_); }

  std::string root() const { return path_ + "/root"; }
  std::string outside() const { return path_ + "/outside"; }

  // What others left in the root.
  void Prepare(FuzzedDataProvider* in) const {
    std::filesystem::create_directories(root() + "/a/b");
    std::ofstream(root() + "/f") << "old";
    std::filesystem::create_directory_symlink(outside(), root() + "/esc");
    std::filesystem::create_symlink("../outside/file", root() + "/a/link");
    if (!in->ConsumeBool()) return;
    const std::string home = root() + "/.fanmirror";
    switch (in->ConsumeIntegralInRange(0, 3)) {
      case 0:
        std::filesystem::create_directory_symlink(outside(), home);
        return;
      case 1:
        std::filesystem::create_directory(home);
        std::filesystem::create_directory_symlink(outside(), home + "/staging");
        break;
      case 2:
        std::filesystem::create_directory(home);
        std::filesystem::create_directory_symlink(outside(), home + "/limbo");
        std::filesystem::create_symlink("../../outside/file", home + "/lock");
        break;
      default:
        std::filesystem::create_directories(home + "/limbo/x");
        break;
    }
    std::ofstream(home + "/marker") << (in->ConsumeBool() ? "fanmirror-marker 1\njob=job\ninstance=instance\nsource=s\n"
                                                          : in->ConsumeRandomLengthString(64));
    std::ofstream(home + "/" + "at." + std::to_string(in->ConsumeIntegral<std::uint8_t>()) + "." +
                  std::to_string(in->ConsumeIntegral<std::uint8_t>()));
  }

  void Check() const {
    if (Outside() != before_) std::abort();
  }
  void Clear() const { std::filesystem::remove_all(root()); }

 private:
  // All that an op could change of what is outside.
  std::string Outside() const {
    std::string out;
    for (const std::string& name : {outside(), outside() + "/dir", outside() + "/file"}) {
      struct stat st {};
      if (lstat(name.c_str(), &st) != 0) return "gone: " + name;
      const std::array<std::int64_t, 7> all = {st.st_mode, st.st_uid,          st.st_gid,         static_cast<std::int64_t>(st.st_nlink),
                                               st.st_size, st.st_ctim.tv_sec, st.st_ctim.tv_nsec};
      out.append(reinterpret_cast<const char*>(all.data()), sizeof all);
    }
    return out;
  }

  std::string path_;
  std::string before_;
};

// What a source says, made of the input.
class Speaker {
 public:
  Speaker(FuzzedDataProvider* in, std::string root) : in_(in), root_(std::move(root)) {}

  std::string NextFrame() {
    std::string out;
    switch (in_->ConsumeIntegralInRange(0, 13)) {
      case 0:
        Hello(&out);
        break;
      case 1:
        BatchBegin(&out);
        break;
      case 2:
        Message(wire::FrameType::kBatchEnd, End(), &out);
        break;
      case 3:
      case 4:
      case 5:
      case 6:
        Op(&out);
        break;
      case 7:
        Put(&out);
        break;
      case 8:
        Data(&out);
        break;
      case 9:
        wire::AppendPutEnd({in_->ConsumeBool() ? hasher_.Finish(size_) : model::ContentHash{1, 2}, in_->ConsumeBool()}, &out);
        break;
      case 10:
        wire::AppendPutAbort(&out);
        break;
      case 11:
        List(&out);
        break;
      case 12:
        wire::AppendFrame(static_cast<wire::FrameType>(in_->ConsumeIntegral<std::uint8_t>()),
                          in_->ConsumeRandomLengthString(64), &out);
        break;
      default:
        out = in_->ConsumeRandomLengthString(64);
        break;
    }
    return out;
  }

  void Hello(std::string* out) {
    wire::pb::Hello hello;
    hello.set_protocol(in_->ConsumeIntegralInRange(0, 15) == 0 ? 99 : wire::kProtocol);
    hello.set_job(in_->ConsumeBool() ? "job" : "other");
    hello.set_instance("instance");
    hello.set_source("s\ns");
    if (in_->ConsumeBool()) hello.set_path(in_->ConsumeBool() ? root_ : root_ + "/esc");
    hello.set_adopt(in_->ConsumeIntegralInRange(0, 3) != 0);
    hello.set_established(in_->ConsumeBool());
    Message(wire::FrameType::kHello, hello, out);
  }

  void BatchBegin(std::string* out) {
    wire::pb::BatchBegin begin;
    batch_ += in_->ConsumeIntegralInRange(0, 3);
    begin.set_number(in_->ConsumeIntegralInRange(0, 15) == 0 ? in_->ConsumeIntegral<std::uint64_t>() : batch_);
    begin.set_settled(in_->ConsumeBool() ? 0 : batch_ - 1);
    Message(wire::FrameType::kBatchBegin, begin, out);
  }

 private:
  template <typename Proto>
  static void Message(wire::FrameType type, const Proto& message, std::string* out) {
    wire::AppendFrame(type, message.SerializeAsString(), out);
  }

  wire::pb::BatchEnd End() {
    wire::pb::BatchEnd end;
    end.set_number(in_->ConsumeIntegralInRange(0, 15) == 0 ? in_->ConsumeIntegral<std::uint64_t>() : batch_);
    return end;
  }

  std::string Path() {
    static const std::string long_name(255, 'n');
    static const std::array<std::string, 16> words = {"a", "b", "c", "f", "link", "esc", "file", ".fanmirror", "limbo",
                                                      "staging", "marker", "..", ".", "", "x", long_name};
    std::string path;
    for (int depth = in_->ConsumeIntegralInRange(0, 4); depth >= 0; --depth) {
      if (!path.empty()) path += '/';
      path += in_->PickValueInArray(words);
    }
    return path;
  }

  void Metadata(wire::pb::Metadata* metadata) {
    metadata->set_type(in_->ConsumeIntegralInRange<std::uint32_t>(0, 8));
    metadata->set_mode(in_->ConsumeIntegralInRange<std::uint32_t>(0, 010000));
    metadata->set_uid(in_->ConsumeBool() ? 0 : in_->ConsumeIntegral<std::uint32_t>());
    metadata->set_gid(in_->ConsumeBool() ? 0 : in_->ConsumeIntegral<std::uint32_t>());
    metadata->mutable_mtime()->set_seconds(in_->ConsumeIntegral<std::int64_t>());
    metadata->mutable_mtime()->set_nanoseconds(in_->ConsumeIntegralInRange<std::uint32_t>(0, 1'000'000'000));
    metadata->set_device_major(in_->ConsumeIntegralInRange<std::uint32_t>(0, 0x1000));
    if (metadata->type() == static_cast<std::uint32_t>(model::NodeType::kSymlink) || in_->ConsumeIntegralInRange(0, 7) == 0) {
      metadata->set_symlink_target(in_->ConsumeBool() ? "../outside" : in_->ConsumeRandomLengthString(16));
    }
    for (int xattrs = in_->ConsumeIntegralInRange(0, 3); xattrs > 1; --xattrs) {
      wire::pb::Xattr* xattr = metadata->add_xattrs();
      xattr->set_name(in_->PickValueInArray({"user.a", "trusted.b", "security.capability", "system.posix_acl_access",
                                             "system.posix_acl_default", "user.", "system.x"}));
      xattr->set_value(in_->ConsumeRandomLengthString(48));
    }
  }

  void Op(std::string* out) {
    wire::pb::Op op;
    op.set_kind(in_->ConsumeIntegralInRange<std::uint32_t>(0, 8));
    op.set_path(Path());
    if (in_->ConsumeBool()) op.set_from(Path());
    if (in_->ConsumeBool()) Metadata(op.mutable_metadata());
    Message(wire::FrameType::kOp, op, out);
  }

  void Put(std::string* out) {
    wire::pb::Op op;
    op.set_kind(static_cast<std::uint32_t>(model::Op::Kind::kPut));
    op.set_path(Path());
    Metadata(op.mutable_metadata());
    op.mutable_metadata()->set_type(static_cast<std::uint32_t>(model::NodeType::kRegular));
    op.mutable_metadata()->clear_symlink_target();
    size_ = in_->ConsumeBool() ? in_->ConsumeIntegralInRange<std::uint64_t>(0, 64) : in_->ConsumeIntegral<std::uint64_t>();
    op.mutable_metadata()->set_size(size_);
    hasher_.Reset();
    offset_ = 0;
    Message(wire::FrameType::kOp, op, out);
  }

  void Data(std::string* out) {
    const std::string bytes = in_->ConsumeRandomLengthString(32);
    if (in_->ConsumeIntegralInRange(0, 7) == 0) offset_ = in_->ConsumeIntegral<std::uint64_t>();
    wire::AppendData(offset_, bytes, out);
    hasher_.Add(offset_, bytes);
    offset_ += bytes.size();
  }

  void List(std::string* out) {
    wire::pb::List list;
    list.set_id(in_->ConsumeIntegral<std::uint8_t>());
    list.set_path(Path());
    list.set_children(in_->ConsumeBool());
    Message(wire::FrameType::kList, list, out);
  }

  FuzzedDataProvider* in_;
  std::string root_;
  std::uint64_t batch_ = 0;
  std::uint64_t size_ = 0;
  std::uint64_t offset_ = 0;
  hash::ContentHasher hasher_;
};

// False once the session gave up.
bool Feed(apply::Session* session, std::string_view bytes) {
  while (!bytes.empty()) {
    const absl::Span<char> space = session->Space();
    if (space.empty()) std::abort();
    const std::size_t count = std::min(space.size(), bytes.size());
    std::memcpy(space.data(), bytes.data(), count);
    if (!session->Fed(count).ok()) return false;
    bytes.remove_prefix(count);
  }
  return true;
}

// Names in the staging area are of what is under way, and go when it ends.
void CheckStaging(const std::string& root) {
  std::error_code none;
  const std::string staging = root + "/.fanmirror/staging";
  if (!std::filesystem::is_directory(std::filesystem::symlink_status(staging, none))) return;
  if (!std::filesystem::is_empty(staging, none) && !none) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Place place;
  FuzzedDataProvider in(data, size);
  place.Prepare(&in);
  {
    CountingOutput output;
    apply::Session session({.root = apply::Root::Open(place.root()), .output = &output, .make_syncer = [](auto calls) {
                              return std::make_unique<PromptSyncer>(std::move(calls));
                            }});
    Speaker speaker(&in, place.root());
    std::string first;
    // Nearly always in order, else hardly anything gets beyond.
    if (in.ConsumeIntegralInRange(0, 15) != 0) speaker.Hello(&first);
    if (in.ConsumeIntegralInRange(0, 15) != 0) speaker.BatchBegin(&first);
    bool goes_on = session.Greet().ok() && Feed(&session, first);
    for (int frames = 0; goes_on && frames < kMaxFrames && in.remaining_bytes() > 0; ++frames) {
      goes_on = Feed(&session, speaker.NextFrame());
    }
    if (goes_on) static_cast<void>(session.End().ok());
    if (output.bytes() > std::size_t{kMaxFrames} * wire::kMaxPayloadBytes) std::abort();
  }
  CheckStaging(place.root());
  place.Check();
  place.Clear();
  return 0;
}
