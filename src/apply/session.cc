#include "apply/session.h"

#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "apply/failures.h"
#include "apply/listing.h"
#include "model/failure.h"

namespace fanmirror::apply {
namespace {

using model::Reaction;

std::string FilesystemName(int fd) {
  struct statfs st {};
  if (fstatfs(fd, &st) != 0) return "unknown";
  switch (static_cast<std::uint32_t>(st.f_type)) {
    case 0xef53:
      return "ext4";
    case 0x58465342:
      return "xfs";
    case 0x9123683e:
      return "btrfs";
    case 0x01021994:
      return "tmpfs";
    default:
      return absl::StrCat("type 0x", absl::Hex(static_cast<std::uint32_t>(st.f_type)));
  }
}

// Gives the parsed message to the handler, or its error back.
template <typename Parsed, typename Handler>
absl::Status Pass(absl::StatusOr<Parsed> parsed, Handler handler) {
  if (!parsed.ok()) return parsed.status();
  return handler(*std::move(parsed));
}

}  // namespace

Session::Session(Options options) : options_(std::move(options)), decoder_(wire::Decoder::Start::kAtFrame) {
  if (options_.root.ok()) root_ = *std::move(options_.root);
}

absl::Status Session::Greet() { return options_.output->Write(wire::kBanner); }

absl::Status Session::Fed(std::size_t bytes) {
  decoder_.Fed(bytes);
  for (;;) {
    const absl::StatusOr<std::optional<wire::Frame>> frame = decoder_.Next();
    if (!frame.ok()) return frame.status();
    if (!frame->has_value()) return absl::OkStatus();
    if (absl::Status status = Take(**frame); !status.ok()) return status;
  }
}

absl::Status Session::End() {
  if (!decoder_.at_boundary() || !conversation_.AtRest()) {
    return model::Failure(Reaction::kReconnect, "the connection ended in the midst of a batch");
  }
  return syncer_ ? syncer_->Drain() : absl::OkStatus();
}

absl::Status Session::Take(const wire::Frame& frame) {
  using wire::FrameType;
  switch (frame.type) {
    case FrameType::kHello:
      return Pass(wire::ParseHello(frame.payload), [this](const wire::Hello& hello) { return OnHello(hello); });
    case FrameType::kBatchBegin:
      return Pass(wire::ParseBatchBegin(frame.payload),
                  [this](wire::BatchBegin begin) { return OnBatchBegin(begin); });
    case FrameType::kBatchEnd:
      return Pass(wire::ParseBatchEnd(frame.payload),
                  [this](std::uint64_t number) { return OnBatchEnd(number); });
    case FrameType::kOp:
      return Pass(wire::ParseOp(frame.payload), [this](wire::ReceivedOp op) { return OnOp(std::move(op)); });
    case FrameType::kData:
      return Pass(wire::ParseData(frame.payload), [this](wire::DataFrame data) { return OnData(data); });
    case FrameType::kPutEnd:
      return Pass(wire::ParsePutEnd(frame.payload), [this](wire::PutEnd end) { return OnPutEnd(end); });
    case FrameType::kPutAbort:
      if (absl::Status status = wire::ParsePutAbort(frame.payload); !status.ok()) return status;
      return OnPutAbort();
    case FrameType::kList:
      return Pass(wire::ParseList(frame.payload), [this](const wire::List& list) { return OnList(list); });
    case FrameType::kHashFile:
      return Pass(wire::ParseHashFile(frame.payload), [this](const wire::HashFile& file) { return OnHashFile(file); });
    case FrameType::kPing:
      return Pass(wire::ParsePing(frame.payload), [this](wire::Ping ping) { return OnPing(ping); });
    case FrameType::kHelloReply:
    case FrameType::kAck:
    case FrameType::kListing:
    case FrameType::kFileHash:
      break;
  }
  return model::Failure(Reaction::kReconnect,
                        absl::StrCat("the peer broke the conversation: a source sends no ",
                                     std::string(wire::FrameTypeName(frame.type))));
}

absl::Status Session::OnHello(const wire::Hello& hello) {
  if (absl::Status status = conversation_.OnHello(); !status.ok()) return status;
  if (options_.on_hello) options_.on_hello(hello);
  wire::HelloReply reply;
  reply.protocol = wire::kProtocol;
  reply.program = FANMIRROR_VERSION;
  absl::Status refused = Admit(hello, &reply);
  if (!refused.ok()) {
    reply.refusal = std::string(refused.message());
    reply.reaction = model::ReactionOf(refused);
  }
  std::string frame;
  wire::AppendHelloReply(reply, &frame);
  if (absl::Status status = options_.output->Write(frame); !status.ok()) return status;
  if (refused.ok()) Start();
  return refused;
}

absl::Status Session::Admit(const wire::Hello& hello, wire::HelloReply* reply) {
  if (hello.protocol != wire::kProtocol) {
    return model::Failure(
        Reaction::kReconnect,
        absl::StrCat("this receiver is fanmirror ", FANMIRROR_VERSION, " with protocol ", wire::kProtocol,
                     ", the source is fanmirror ", hello.program, " with protocol ", hello.protocol,
                     "; install the same version on both hosts"));
  }
  if (hello.job.empty() || hello.instance.empty()) {
    return model::Failure(Reaction::kReconnect, "the source gives no name of its job or instance");
  }
  if (root_ == nullptr) return options_.root.status();
  if (absl::Status status = CheckWantedRoot(hello); !status.ok()) return status;
  absl::StatusOr<std::unique_ptr<Home>> home = Home::Enter(*root_, hello);
  if (!home.ok()) return home.status();
  home_ = std::move(*home);
  reply->begun = home_->numbers().begun();
  reply->durable = home_->numbers().durable();
  reply->empty = home_->root_was_empty();
  reply->filesystem = FilesystemName(root_->sync_fd());
  reply->root = root_->path();
  return absl::OkStatus();
}

absl::Status Session::CheckWantedRoot(const wire::Hello& hello) const {
  if (hello.path.empty()) return absl::OkStatus();
  struct stat wanted {};
  struct stat served {};
  if (fstat(root_->fd(), &served) != 0) {
    return model::SystemFailure(Reaction::kReconnect, "stat", root_->path(), errno);
  }
  if (stat(hello.path.c_str(), &wanted) == 0 && wanted.st_dev == served.st_dev &&
      wanted.st_ino == served.st_ino) {
    return absl::OkStatus();
  }
  return model::Failure(
      Reaction::kReconnect,
      absl::StrCat("this receiver serves ", model::QuotePath(root_->path()), " only, the source wants ",
                   model::QuotePath(hello.path), "; make the path of the target and the --root of ",
                   "the receiver (in authorized_keys?) the same"));
}

void Session::Start() {
  staging_.emplace(home_->staging_fd());
  applier_.emplace(root_.get(), &*staging_, home_->limbo_fd());
  put_.emplace(root_.get(), &*staging_);
  staged_.emplace(root_.get(), &*staging_);
  Syncer::Calls calls;
  calls.sync = [this] {
    if (syncfs(root_->sync_fd()) == 0) return absl::OkStatus();
    return model::SystemFailure(Reaction::kReconnect, "syncfs", root_->path(), errno,
                                "see the kernel log of the target");
  };
  calls.acknowledge = [this](const wire::Ack& ack) {
    if (absl::Status status = home_->numbers().Durable(ack.number); !status.ok()) return status;
    std::string frame;
    wire::AppendAck(ack, &frame);
    return options_.output->Write(frame);
  };
  syncer_ = options_.make_syncer(std::move(calls));
}

absl::Status Session::OnBatchBegin(const wire::BatchBegin& begin) {
  if (absl::Status status = conversation_.OnBatchBegin(begin); !status.ok()) return status;
  failures_.clear();
  poison_.Settle(begin.settled);
  root_->ForgetAll();
  return home_->numbers().Begin(begin.number);
}

absl::Status Session::OnBatchEnd(std::uint64_t number) {
  if (absl::Status status = conversation_.OnBatchEnd(number); !status.ok()) return status;
  PlaceStaged();
  std::ranges::sort(failures_, {}, &wire::OpFailure::index);
  syncer_->Ended({number, std::move(failures_)});
  failures_.clear();
  return absl::OkStatus();
}

absl::Status Session::OnOp(wire::ReceivedOp op) {
  if (absl::Status status = conversation_.OnOp(op); !status.ok()) return status;
  if (staged_->Touches(op.op)) PlaceStaged();
  put_op_ = op.op;
  absl::Status status = Objection(op.op);
  const bool untried = status.ok() && IsPoisoned(op.op);
  if (untried) {
    status = model::Failure(Reaction::kLookAgain, absl::StrCat("apply ", model::QuotePath(op.op.path),
                                                               ": an op before it failed there"));
  } else if (status.ok()) {
    status = Do(std::move(op));
  }
  put_failed_ = !status.ok();
  Record(put_op_, op_index(), status);
  if (untried) failures_.back().untried = true;
  if (poison_.overfull()) {
    return model::Failure(Reaction::kReconnect,
                          "more ops failed than can be remembered; the source has to look anew");
  }
  return absl::OkStatus();
}

absl::Status Session::Objection(const model::Op& op) const {
  if (IsReserved(op.path) || IsReserved(op.from)) {
    return model::Failure(Reaction::kSkipAndReport,
                          absl::StrCat("apply ", model::QuotePath(op.path), ": the name ",
                                       std::string(kHomeName), " at the root is fanmirror's own"));
  }
  return absl::OkStatus();
}

bool Session::IsPoisoned(const model::Op& op) const {
  return poison_.Covers(op.path) || (!op.from.empty() && poison_.Covers(op.from)) ||
         (op.kind == model::Op::Kind::kRemove && poison_.LiesBelow(op.path));
}

absl::Status Session::Do(wire::ReceivedOp op) {
  if (op.op.kind == model::Op::Kind::kPut) return put_->Begin(std::move(op));
  absl::Status status = applier_->Apply(op);
  if (!status.ok()) return status;
  if (op.op.kind == model::Op::Kind::kRename) poison_.Move(op.op.from, op.op.path);
  if (op.op.kind == model::Op::Kind::kExchange) poison_.Exchange(op.op.from, op.op.path);
  return status;
}

void Session::Record(const model::Op& op, std::uint32_t index, const absl::Status& status) {
  if (status.ok()) return;
  const Reaction reaction = model::ReactionOf(status);
  failures_.push_back({index, reaction, std::string(status.message())});
  // Metadata that could not be set leaves the names as they were believed to be; and what is put into a
  // directory that could not be made fails by itself.
  const bool of_metadata = op.kind == model::Op::Kind::kSetMetadata ||
                           (op.kind == model::Op::Kind::kMake && op.type == model::NodeType::kDirectory);
  if (of_metadata && reaction != Reaction::kLookAgain) return;
  poison_.Add(op.path, conversation_.batch());
  if (op.kind == model::Op::Kind::kRename || op.kind == model::Op::Kind::kExchange) {
    poison_.Add(op.from, conversation_.batch());
  }
}

absl::Status Session::OnData(const wire::DataFrame& data) {
  if (absl::Status status = conversation_.OnData(data); !status.ok()) return status;
  if (put_failed_) return absl::OkStatus();
  const absl::Status status = put_->Write(data);
  put_failed_ = !status.ok();
  Record(put_op_, op_index(), status);
  return absl::OkStatus();
}

absl::Status Session::OnPutEnd(const wire::PutEnd& end) {
  if (absl::Status status = conversation_.OnPutEnd(); !status.ok()) return status;
  if (put_failed_) return absl::OkStatus();
  absl::StatusOr<StagedFile> file = put_->Finish(end);
  if (!file.ok()) {
    Record(put_op_, op_index(), file.status());
    return absl::OkStatus();
  }
  file->index = op_index();
  staged_->Add(*std::move(file));
  if (staged_->full()) PlaceStaged();
  return absl::OkStatus();
}

void Session::PlaceStaged() {
  staged_->Place(
      [this](const StagedFile& file, const absl::Status& status) { Record(file.op, file.index, status); });
}

absl::Status Session::OnPutAbort() {
  if (absl::Status status = conversation_.OnPutEnd(); !status.ok()) return status;
  if (put_failed_) return absl::OkStatus();
  put_->Abandon();
  Record(put_op_, op_index(), NotAsExpected(Step::kWrite, put_op_.path, "the source gave up reading it"));
  return absl::OkStatus();
}

absl::Status Session::OnList(const wire::List& list) {
  if (absl::Status status = conversation_.OnList(); !status.ok()) return status;
  root_->ForgetAll();
  return ListPlace(root_.get(), list, [this](const wire::Listing& listing) {
    std::string frame;
    wire::AppendListing(listing, &frame);
    return options_.output->Write(frame);
  });
}

absl::Status Session::OnHashFile(const wire::HashFile& hash_file) {
  if (absl::Status status = conversation_.OnHashFile(); !status.ok()) return status;
  root_->ForgetAll();
  if (!hasher_) {
    hasher_.emplace([this](const wire::FileHash& file_hash) {
      std::string frame;
      wire::AppendFileHash(file_hash, &frame);
      return options_.output->Write(frame);
    });
  }
  return hasher_->Ask(root_.get(), hash_file);
}

absl::Status Session::OnPing(const wire::Ping& ping) {
  if (absl::Status status = conversation_.OnPing(); !status.ok()) return status;
  std::string frame;
  wire::AppendPing(ping, &frame);
  return options_.output->Write(frame);
}

}  // namespace fanmirror::apply
