#include <fuzzer/FuzzedDataProvider.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <variant>

#include "catalogue/catalogue.h"
#include "messages.pb.h"
#include "model/failure.h"
#include "os/tree.h"
#include "replicate/dialogue.h"
#include "replicate/learner.h"

// A source that sends a batch and learns what its target holds, and a receiver that says anything. Frames are made of a few
// words, legal or not. Whatever comes: what is held stays bounded, each error is one line, and the catalogue stays sound.
namespace {

using namespace fanmirror;  // NOLINT: a test program

constexpr std::size_t kRoom = 8;
constexpr int kMaxTurns = 300;

void Expect(bool holds) {
  if (!holds) std::abort();
}

// The source and the state, made once.
struct Place {
  Place() {
    const char* base = std::getenv("TEST_TMPDIR");
    path = std::string(base != nullptr ? base : "/dev/shm") + "/fanmirror-fuzz-XXXXXX";
    Expect(mkdtemp(path.data()) != nullptr);
    std::filesystem::create_directories(path + "/source/a/b");
    std::ofstream(path + "/source/f") << "content";
    std::filesystem::create_hard_link(path + "/source/f", path + "/source/a/g");
    tree = std::move(os::Tree::Open(path + "/source").value());
    catalogue = std::move(catalogue::Catalogue::Open(path + "/state").value());
  }
  ~Place() {
    catalogue.reset();
    std::filesystem::remove_all(path);
  }
  std::string path;
  std::unique_ptr<os::Tree> tree;
  std::unique_ptr<catalogue::Catalogue> catalogue;
};

// What a receiver says, made of the input.
class Speaker : public link::Link {
 public:
  explicit Speaker(FuzzedDataProvider* in) : in_(in) {}

  absl::StatusOr<std::size_t> Write(absl::Span<const char> data) override { return data.size(); }
  absl::StatusOr<std::size_t> Read(absl::Span<char> buffer) override {
    if (rest_.empty() && in_->remaining_bytes() == 0) return model::Failure(model::Reaction::kReconnect, "closed");
    if (rest_.empty()) rest_ = std::exchange(begun_, true) ? NextFrame() : Beginning();
    const std::size_t count = std::min(rest_.size(), buffer.size());
    std::copy_n(rest_.begin(), count, buffer.begin());
    rest_.erase(0, count);
    return count;
  }
  bool WritePending() const override { return false; }
  absl::StatusOr<Ready> Wait(bool, int, absl::Duration) override { return Ready{}; }

 private:
  template <typename Proto>
  static std::string Message(wire::FrameType type, const Proto& message) {
    std::string out;
    wire::AppendFrame(type, message.SerializeAsString(), &out);
    return out;
  }

  std::string Beginning() {
    std::string out;
    if (in_->ConsumeIntegralInRange(0, 15) == 0) out = in_->ConsumeRandomLengthString(100);
    out += wire::kBanner;
    return in_->ConsumeIntegralInRange(0, 15) == 0 ? out : out + HelloReply();
  }

  std::string NextFrame() {
    switch (in_->ConsumeIntegralInRange(0, 9)) {
      case 0:
        return HelloReply();
      case 1:
        return Ack();
      case 2: {
        wire::pb::Ping ping;
        return Message(wire::FrameType::kPing, ping);
      }
      case 3: {
        std::string out;
        wire::AppendFrame(static_cast<wire::FrameType>(in_->ConsumeIntegral<std::uint8_t>()),
                          in_->ConsumeRandomLengthString(64), &out);
        return out;
      }
      case 4:
        return in_->ConsumeRandomLengthString(64);
      default:
        return Listing();
    }
  }

  std::string HelloReply() {
    wire::pb::HelloReply reply;
    reply.set_protocol(in_->ConsumeIntegralInRange(0, 15) == 0 ? 99 : wire::kProtocol);
    if (in_->ConsumeIntegralInRange(0, 15) == 0) reply.set_refusal("no\nno");
    reply.set_reaction(in_->ConsumeIntegralInRange<std::uint32_t>(0, 7));
    reply.set_begun(in_->ConsumeBool() ? 1 : in_->ConsumeIntegral<std::uint64_t>());
    reply.set_durable(in_->ConsumeBool() ? reply.begun() : in_->ConsumeIntegral<std::uint64_t>());
    reply.set_root(in_->ConsumeRandomLengthString(16));
    return Message(wire::FrameType::kHelloReply, reply);
  }

  std::string Ack() {
    wire::pb::Ack ack;
    ack.set_number(in_->ConsumeIntegralInRange<std::uint64_t>(0, 4));
    for (int failures = in_->ConsumeIntegralInRange(0, 4); failures > 0; --failures) {
      wire::pb::OpFailure* failure = ack.add_failures();
      failure->set_index(in_->ConsumeIntegralInRange<std::uint32_t>(0, 4));
      failure->set_reaction(in_->ConsumeIntegralInRange<std::uint32_t>(0, 7));
      failure->set_message(in_->ConsumeRandomLengthString(16));
      failure->set_untried(in_->ConsumeBool());
    }
    return Message(wire::FrameType::kAck, ack);
  }

  std::string Listing() {
    static const std::string long_name(255, 'n');
    static const std::array<std::string, 13> words = {"a", "b", "f", "g", "x", "y", ".fanmirror", "limbo", "..", ".", "", "a/b",
                                                      long_name};
    wire::pb::Listing listing;
    // Mostly the one that was asked for last.
    if (in_->ConsumeIntegralInRange(0, 3) != 0) ++id_;
    listing.set_id(in_->ConsumeIntegralInRange(0, 15) == 0 ? in_->ConsumeIntegral<std::uint8_t>() : id_);
    listing.set_last(in_->ConsumeIntegralInRange(0, 3) != 0);
    listing.set_exists(in_->ConsumeBool());
    if (listing.exists()) Metadata(listing.mutable_self()->mutable_metadata());
    for (int entries = in_->ConsumeIntegralInRange(0, 5); entries > 0; --entries) {
      wire::pb::Entry* entry = listing.add_entries();
      entry->set_name(in_->PickValueInArray(words));
      Metadata(entry->mutable_metadata());
      entry->set_inode(in_->ConsumeIntegralInRange<std::uint64_t>(0, 3));
      entry->set_links(in_->ConsumeIntegralInRange<std::uint32_t>(0, 3));
    }
    if (in_->ConsumeIntegralInRange(0, 15) == 0) listing.set_error("EIO");
    return Message(wire::FrameType::kListing, listing);
  }

  void Metadata(wire::pb::Metadata* metadata) {
    metadata->set_type(in_->ConsumeIntegralInRange<std::uint32_t>(0, 8));
    metadata->set_mode(in_->ConsumeIntegralInRange<std::uint32_t>(0, 010000));
    metadata->set_size(in_->ConsumeBool() ? 7 : in_->ConsumeIntegral<std::uint64_t>());
  }

  FuzzedDataProvider* in_;
  std::string rest_;
  bool begun_ = false;
  std::uint64_t id_ = 0;
};

// Drives the dialogue as the planning thread and the session's thread do together.
class Source {
 public:
  Source(Place* place, Speaker* link) : place_(place), link_(link) {
    options_.tree = place->tree.get();
    options_.traffic = &traffic_;
    options_.hello.protocol = wire::kProtocol;
    options_.on_event = [this](SessionEvent event) { events_.push_back(std::move(event)); };
    options_.has_room = [this] { return events_.size() < kRoom; };
    dialogue_ = std::move(replicate::Dialogue::Begin(options_).value());
  }

  void Run() {
    dialogue_->Send(OneBatch());
    for (int turns = 0; turns < 3; ++turns) {
      if (!Turn()) return;
      events_.clear();
    }
    Learn();
    while (Turn()) events_.clear();
  }

 private:
  using SessionEvent = replicate::SessionEvent;

  bool Turn() {
    if (++turns_ > kMaxTurns) return false;
    const auto moved = dialogue_->Turn(link_);
    Expect(events_.size() <= kRoom);
    if (moved.ok()) return true;
    Expect(std::string(moved.status().message()).find('\n') == std::string::npos);
    return false;
  }

  static std::unique_ptr<replicate::Batch> OneBatch() {
    auto batch = std::make_unique<replicate::Batch>();
    batch->number = 2;
    batch->settled = 1;
    batch->steps.resize(2);
    batch->steps[0].op.kind = model::Op::Kind::kRemove;
    batch->steps[0].op.path = "x";
    batch->steps[1].op.kind = model::Op::Kind::kRename;
    batch->steps[1].op.path = "y";
    batch->steps[1].op.from = "z";
    return batch;
  }

  void Learn() {
    std::size_t noted = 0;
    replicate::Learner learner(
        place_->tree.get(), &selection_, place_->catalogue.get(),
        [this](const std::string& path, bool children) {
          dialogue_->Ask(wire::List{.id = ++lists_, .path = path, .children = children});
        },
        [this](const auto& frame) { return TakeListing(frame); },
        [&noted](absl::Span<const model::Change> changes) {
          noted += changes.size();
          return absl::OkStatus();
        });
    if (learner.LearnAll().ok()) static_cast<void>(learner.LearnPlaces({{"a/b", true}, {"x", false}}).ok());
    Expect(place_->catalogue->health().ok());
    // The source has two directories beside its root; all else is of the target.
    Expect(noted <= 8);
  }

  absl::Status TakeListing(const std::function<absl::Status(const wire::Listing&)>& frame) {
    for (;;) {
      while (!events_.empty()) {
        const SessionEvent event = std::move(events_.front());
        events_.pop_front();
        const auto* answered = std::get_if<replicate::Answered>(&event);
        const auto* listing = answered == nullptr ? nullptr : std::get_if<wire::Listing>(&answered->answer);
        if (listing == nullptr) continue;
        if (absl::Status status = frame(*listing); !status.ok()) return status;
        if (listing->last) return absl::OkStatus();
      }
      if (!Turn()) return model::Failure(model::Reaction::kReconnect, "the connection ended");
    }
  }

  Place* place_;
  Speaker* link_;
  scan::Selection selection_;
  replicate::Traffic traffic_;
  replicate::SessionOptions options_;
  std::deque<SessionEvent> events_;
  std::unique_ptr<replicate::Dialogue> dialogue_;
  std::uint64_t lists_ = 0;
  int turns_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Place place;
  FuzzedDataProvider in(data, size);
  Speaker speaker(&in);
  Source(&place, &speaker).Run();
  return 0;
}
