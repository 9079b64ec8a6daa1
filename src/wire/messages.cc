#include "wire/messages.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "messages.pb.h"
#include "wire/frame.h"
#include "wire/message_parts.h"

namespace fanmirror::wire {
namespace {

// Bytes of the failure messages of one Ack: beyond, only index and reaction travel, so that the Ack fits a
// frame.
constexpr std::size_t kMaxAckMessageBytes = std::size_t{256} << 10;
// Bytes of a symlink's target: PATH_MAX without the terminating NUL.
constexpr std::size_t kMaxSymlinkBytes = 4'095;
// Bytes of one xattr value and of the list of names: the kernel's XATTR_SIZE_MAX and XATTR_LIST_MAX.
constexpr std::size_t kMaxXattrBytes = 65'536;
constexpr std::size_t kMaxXattrs = 65'536 / 6;  // names of the shortest kind, "user.x"

bool IsXattrName(std::string_view name) {
  if (name.size() > kMaxNameBytes || name.find('\0') != std::string_view::npos) return false;
  for (const std::string_view space : {"user.", "trusted.", "security."}) {
    if (name.size() > space.size() && name.starts_with(space)) return true;
  }
  return name == "system.posix_acl_access" || name == "system.posix_acl_default";
}

absl::Status TakeXattrs(pb::Metadata* in, std::vector<model::Xattr>* out) {
  if (in->xattrs_size() > static_cast<int>(kMaxXattrs)) return Malformed("Metadata", "too many xattrs");
  for (pb::Xattr& xattr : *in->mutable_xattrs()) {
    if (!IsXattrName(xattr.name())) {
      return Malformed("Metadata", absl::StrCat("the xattr name ", model::QuotePath(xattr.name())));
    }
    if (xattr.value().size() > kMaxXattrBytes) return Malformed("Metadata", "an xattr above 64 KiB");
    out->push_back({std::move(*xattr.mutable_name()), std::move(*xattr.mutable_value())});
  }
  return absl::OkStatus();
}

bool CarriesMetadata(model::Op::Kind kind) {
  return kind == model::Op::Kind::kMake || kind == model::Op::Kind::kPut ||
         kind == model::Op::Kind::kSetMetadata;
}

bool HasFrom(model::Op::Kind kind) {
  return kind == model::Op::Kind::kLink || kind == model::Op::Kind::kRename ||
         kind == model::Op::Kind::kExchange;
}

// The rules that both sides hold an op to; the reason against it, or empty.
std::string_view Objection(const model::Op& op, model::NodeType type, std::string_view symlink_target) {
  if (!IsRelativePath(op.path) || !IsRelativePath(op.from)) return "a path that does not stay below the root";
  if (op.path.empty() && op.kind != model::Op::Kind::kSetMetadata) return "the root itself";
  if (HasFrom(op.kind) && (op.from.empty() || op.from == op.path)) return "no second path";
  if (!HasFrom(op.kind) && !op.from.empty()) return "a second path";
  if (op.kind == model::Op::Kind::kPut && type != model::NodeType::kRegular)
    return "a put of no regular file";
  if (op.kind == model::Op::Kind::kMake && type == model::NodeType::kRegular)
    return "a make of a regular file";
  const bool makes_symlink = op.kind == model::Op::Kind::kMake && type == model::NodeType::kSymlink;
  if (makes_symlink && symlink_target.empty()) return "a symlink to nowhere";
  if (type != model::NodeType::kSymlink && !symlink_target.empty()) return "a symlink target of no symlink";
  if (symlink_target.size() > kMaxSymlinkBytes || symlink_target.find('\0') != std::string_view::npos) {
    return "an impossible symlink target";
  }
  return {};
}

absl::Status CannotTell(const model::Op& op, std::string_view why) {
  return model::Failure(model::Reaction::kSkipAndReport,
                        absl::StrCat("send ", model::QuotePath(op.path), ": ", std::string(why)));
}

absl::Status AppendOpMessage(const model::Op& op, pb::Op* message, std::string* out) {
  message->set_kind(static_cast<std::uint32_t>(op.kind));
  message->set_path(op.path);
  message->set_from(op.from);
  if (message->ByteSizeLong() > kMaxPayloadBytes) {
    return CannotTell(op, "its path and xattrs are too large for one message of 1 MiB");
  }
  AppendMessage(FrameType::kOp, *message, out);
  return absl::OkStatus();
}

}  // namespace

bool IsName(std::string_view name) {
  return !name.empty() && name.size() <= kMaxNameBytes && name != "." && name != ".." &&
         name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos;
}

bool IsRelativePath(std::string_view path) {
  if (path.empty()) return true;
  if (path.size() > kMaxPathBytes) return false;
  for (;;) {
    const std::size_t slash = path.find('/');
    if (!IsName(path.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

void AppendHello(const Hello& hello, std::string* out) {
  pb::Hello message;
  message.set_protocol(hello.protocol);
  message.set_program(hello.program);
  message.set_job(hello.job);
  message.set_instance(hello.instance);
  message.set_source(hello.source);
  message.set_path(hello.path);
  message.set_adopt(hello.adopt);
  message.set_established(hello.established);
  message.set_silence_ms(static_cast<std::uint32_t>(absl::ToInt64Milliseconds(hello.silence)));
  AppendMessage(FrameType::kHello, message, out);
}

void AppendHelloReply(const HelloReply& reply, std::string* out) {
  pb::HelloReply message;
  message.set_protocol(reply.protocol);
  message.set_program(reply.program);
  message.set_refusal(OneLine(reply.refusal));
  message.set_reaction(static_cast<std::uint32_t>(reply.reaction));
  message.set_begun(reply.begun);
  message.set_durable(reply.durable);
  message.set_empty(reply.empty);
  message.set_filesystem(reply.filesystem);
  message.set_root(reply.root);
  AppendMessage(FrameType::kHelloReply, message, out);
}

void AppendBatchBegin(const BatchBegin& begin, std::string* out) {
  pb::BatchBegin message;
  message.set_number(begin.number);
  message.set_settled(begin.settled);
  AppendMessage(FrameType::kBatchBegin, message, out);
}

void AppendBatchEnd(std::uint64_t number, std::string* out) {
  pb::BatchEnd message;
  message.set_number(number);
  AppendMessage(FrameType::kBatchEnd, message, out);
}

void AppendAck(const Ack& ack, std::string* out) {
  pb::Ack message;
  message.set_number(ack.number);
  std::size_t said = 0;
  for (const OpFailure& failure : ack.failures) {
    pb::OpFailure* one = message.add_failures();
    one->set_index(failure.index);
    one->set_reaction(static_cast<std::uint32_t>(failure.reaction));
    one->set_untried(failure.untried);
    std::string line = OneLine(failure.message);
    said += line.size();
    if (said <= kMaxAckMessageBytes) one->set_message(std::move(line));
  }
  AppendMessage(FrameType::kAck, message, out);
}

void AppendPing(const Ping& ping, std::string* out) {
  pb::Ping message;
  message.set_id(ping.id);
  AppendMessage(FrameType::kPing, message, out);
}

absl::Status AppendOp(const model::Op& op, const model::Metadata& metadata,
                      absl::Span<const model::Xattr> xattrs, std::string_view symlink_target,
                      std::string* out) {
  // What travels as the type of the node is the type that was read, which may not be the one that was
  // planned.
  if (const std::string_view why = Objection(op, metadata.type, symlink_target); !why.empty())
    return CannotTell(op, why);
  pb::Op message;
  ToMessage(metadata, message.mutable_metadata());
  message.mutable_metadata()->set_symlink_target(symlink_target.data(), symlink_target.size());
  for (const model::Xattr& xattr : xattrs) {
    pb::Xattr* one = message.mutable_metadata()->add_xattrs();
    one->set_name(xattr.name);
    one->set_value(xattr.value);
  }
  return AppendOpMessage(op, &message, out);
}

absl::Status AppendOp(const model::Op& op, std::string* out) {
  if (const std::string_view why = Objection(op, op.type, {}); !why.empty()) return CannotTell(op, why);
  pb::Op message;
  return AppendOpMessage(op, &message, out);
}

absl::StatusOr<Hello> ParseHello(std::string_view payload) {
  pb::Hello message;
  if (absl::Status status = ParseMessage("Hello", payload, &message); !status.ok()) return status;
  Hello hello;
  hello.protocol = message.protocol();
  hello.program = OneLine(message.program());
  hello.job = OneLine(message.job());
  hello.instance = OneLine(message.instance());
  hello.source = OneLine(message.source());
  if (message.path().size() > kMaxPathBytes || message.path().find('\0') != std::string::npos) {
    return Malformed("Hello", "an impossible path");
  }
  hello.path = message.path();
  hello.adopt = message.adopt();
  hello.established = message.established();
  hello.silence = absl::Milliseconds(message.silence_ms());
  if (hello.silence > kMaxSilence) return Malformed("Hello", "a silence of more than an hour");
  return hello;
}

absl::StatusOr<HelloReply> ParseHelloReply(std::string_view payload) {
  pb::HelloReply message;
  if (absl::Status status = ParseMessage("HelloReply", payload, &message); !status.ok()) return status;
  HelloReply reply;
  reply.protocol = message.protocol();
  reply.program = OneLine(message.program());
  reply.refusal = OneLine(message.refusal());
  if (!reply.refusal.empty()) {
    if (!IsReaction(message.reaction())) return Malformed("HelloReply", "an unknown reaction");
    reply.reaction = static_cast<model::Reaction>(message.reaction());
  }
  if (message.durable() > message.begun()) return Malformed("HelloReply", "more is durable than was begun");
  if (message.begun() > kMaxBatchNumber) return Malformed("HelloReply", "a batch number beyond 2^63");
  reply.begun = message.begun();
  reply.durable = message.durable();
  reply.empty = message.empty();
  reply.filesystem = OneLine(message.filesystem());
  reply.root = message.root();
  return reply;
}

absl::StatusOr<BatchBegin> ParseBatchBegin(std::string_view payload) {
  pb::BatchBegin message;
  if (absl::Status status = ParseMessage("BatchBegin", payload, &message); !status.ok()) return status;
  if (message.number() == 0) return Malformed("BatchBegin", "number 0");
  if (message.number() > kMaxBatchNumber) return Malformed("BatchBegin", "a batch number beyond 2^63");
  if (message.settled() >= message.number())
    return Malformed("BatchBegin", "it settles batches that did not begin");
  return BatchBegin{message.number(), message.settled()};
}

absl::StatusOr<std::uint64_t> ParseBatchEnd(std::string_view payload) {
  pb::BatchEnd message;
  if (absl::Status status = ParseMessage("BatchEnd", payload, &message); !status.ok()) return status;
  return message.number();
}

absl::StatusOr<ReceivedOp> ParseOp(std::string_view payload) {
  pb::Op message;
  if (absl::Status status = ParseMessage("Op", payload, &message); !status.ok()) return status;
  if (message.kind() < static_cast<std::uint32_t>(model::Op::Kind::kMake) ||
      message.kind() > static_cast<std::uint32_t>(model::Op::Kind::kSetMetadata)) {
    return Malformed("Op", absl::StrCat("unknown kind ", message.kind()));
  }
  ReceivedOp received;
  received.op.kind = static_cast<model::Op::Kind>(message.kind());
  received.op.path = std::move(*message.mutable_path());
  received.op.from = std::move(*message.mutable_from());
  if (CarriesMetadata(received.op.kind)) {
    pb::Metadata* metadata = message.mutable_metadata();
    if (absl::Status status = FromMessage(*metadata, &received.metadata); !status.ok()) return status;
    if (absl::Status status = TakeXattrs(metadata, &received.xattrs); !status.ok()) return status;
    received.op.type = received.metadata.type;
    received.symlink_target = std::move(*metadata->mutable_symlink_target());
  } else if (message.has_metadata()) {
    return Malformed("Op", "metadata where none belongs");
  }
  if (const std::string_view why = Objection(received.op, received.op.type, received.symlink_target);
      !why.empty()) {
    return Malformed("Op", why);
  }
  return received;
}

absl::StatusOr<Ack> ParseAck(std::string_view payload) {
  pb::Ack message;
  if (absl::Status status = ParseMessage("Ack", payload, &message); !status.ok()) return status;
  Ack ack;
  ack.number = message.number();
  for (const pb::OpFailure& failure : message.failures()) {
    if (!IsReaction(failure.reaction())) return Malformed("Ack", "an unknown reaction");
    if (!ack.failures.empty() && failure.index() <= ack.failures.back().index) {
      return Malformed("Ack", "failures out of order");
    }
    if (failure.index() >= kMaxBatchOps) return Malformed("Ack", "a failure of no op");
    ack.failures.push_back(
        {failure.index(), static_cast<model::Reaction>(failure.reaction()), OneLine(failure.message()), failure.untried()});
  }
  return ack;
}

absl::StatusOr<Ping> ParsePing(std::string_view payload) {
  pb::Ping message;
  if (absl::Status status = ParseMessage("Ping", payload, &message); !status.ok()) return status;
  return Ping{message.id()};
}

}  // namespace fanmirror::wire
