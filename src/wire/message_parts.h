#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "messages.pb.h"
#include "model/metadata.h"
#include "wire/frame.h"

// What several kinds of messages have in common; for the files that encode and parse them.
namespace fanmirror::wire {

// The peer sent a message `what` that is none, because of `why`: kReconnect.
absl::Status Malformed(std::string_view what, std::string_view why);

template <typename Message>
void AppendMessage(FrameType type, const Message& message, std::string* out) {
  AppendFrame(type, {}, out);
  const std::size_t header = out->size() - kFrameHeaderBytes;
  message.AppendToString(out);
  const std::size_t payload = out->size() - header - kFrameHeaderBytes;
  for (std::size_t i = 0; i < 4; ++i) (*out)[header + i] = static_cast<char>(payload >> (8 * i) & 0xff);
}

template <typename Message>
absl::Status ParseMessage(std::string_view what, std::string_view payload, Message* message) {
  if (message->ParseFromArray(payload.data(), static_cast<int>(payload.size()))) return absl::OkStatus();
  return Malformed(what, "it is no such message");
}

// What a peer says to people, on one line of a bounded length.
std::string OneLine(std::string_view text);
bool IsReaction(std::uint32_t value);

void ToMessage(const model::Metadata& metadata, pb::Metadata* out);
absl::Status FromMessage(const pb::Metadata& in, model::Metadata* out);

}  // namespace fanmirror::wire
