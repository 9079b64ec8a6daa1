#include "model/failure.h"

#include <array>
#include <cstring>
#include <optional>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace fanmirror::model {
namespace {

constexpr absl::string_view kReactionPayload = "fanmirror/reaction";
constexpr absl::string_view kErrnoPayload = "fanmirror/errno";
constexpr std::size_t kMaxQuotedBytes = 300;  // a line of a log stays readable

std::optional<int> IntPayload(const absl::Status& status, absl::string_view key) {
  const auto payload = status.GetPayload(key);
  int value = 0;
  if (!payload || !absl::SimpleAtoi(std::string(*payload), &value)) return std::nullopt;
  return value;
}

// Bytes of the valid UTF-8 sequence at the front of `text`, 0 when there is none.
std::size_t Utf8SequenceLength(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  const std::size_t length = lead < 0x80 ? 1 : lead >= 0xc2 && lead < 0xe0 ? 2 : lead >= 0xe0 && lead < 0xf0 ? 3
                             : lead >= 0xf0 && lead < 0xf5                 ? 4
                                                                           : 0;
  if (length == 0 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) return 0;
  }
  return length;
}

std::string Escape(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t length = Utf8SequenceLength(text);
    const auto byte = static_cast<unsigned char>(text[0]);
    if (length == 0 || byte < 0x20 || byte == 0x7f || byte == '\'' || byte == '\\') {
      absl::StrAppendFormat(&out, "\\x%02x", byte);
      text.remove_prefix(1);
    } else {
      out.append(text.substr(0, length));
      text.remove_prefix(length);
    }
  }
  return out;
}

}  // namespace

std::string_view ReactionName(Reaction reaction) {
  switch (reaction) {
    case Reaction::kRetry:
      return "retry";
    case Reaction::kReconnect:
      return "reconnect";
    case Reaction::kLookAgain:
      return "look-again";
    case Reaction::kSkipAndReport:
      return "skip-file-and-report";
    case Reaction::kHaltJob:
      return "halt-job";
  }
  return "unknown";
}

absl::Status Failure(Reaction reaction, std::string_view message) {
  absl::Status status = absl::UnknownError(std::string(message));
  status.SetPayload(kReactionPayload, absl::Cord(absl::StrCat(static_cast<int>(reaction))));
  return status;
}

absl::Status SystemFailure(Reaction reaction, std::string_view call, std::string_view path, int errno_value,
                           std::string_view cure) {
  std::array<char, 128> buffer{};
  const char* reason = strerror_r(errno_value, buffer.data(), buffer.size());
  std::string message = absl::StrCat(std::string(call), " ", QuotePath(path), ": ", reason);
  if (!cure.empty()) message.append("; ").append(cure);
  absl::Status status = Failure(reaction, message);
  status.SetPayload(kErrnoPayload, absl::Cord(absl::StrCat(errno_value)));
  return status;
}

Reaction ReactionOf(const absl::Status& status) {
  const auto value = IntPayload(status, kReactionPayload);
  if (!value || *value < 1 || *value > 5) return Reaction::kRetry;
  return static_cast<Reaction>(*value);
}

int ErrnoOf(const absl::Status& status) { return IntPayload(status, kErrnoPayload).value_or(0); }

std::string QuotePath(std::string_view path) {
  if (path.size() <= kMaxQuotedBytes) return absl::StrCat("'", Escape(path), "'");
  const std::size_t half = kMaxQuotedBytes / 2;
  return absl::StrCat("'", Escape(path.substr(0, half)), "...", Escape(path.substr(path.size() - half)), "'");
}

}  // namespace fanmirror::model
