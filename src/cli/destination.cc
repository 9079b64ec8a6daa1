#include "cli/destination.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "model/failure.h"

namespace fanmirror::cli {
namespace {

absl::Status Refusal(const std::string& text, const std::string& cause) {
  return absl::InvalidArgumentError(absl::StrCat("destination ", model::QuotePath(text), ": ", cause));
}

// Where the ':' is that ends the host, npos for a local directory.
std::size_t EndOfHost(const std::string& text) {
  const std::size_t slash = text.find('/');
  const std::size_t bracket = text.find('[');
  const bool bracketed = bracket < slash && (bracket == 0 || text[bracket - 1] == '@');
  // A zone ("fe80::1%eth0") has no '/', and neither has an address.
  const std::size_t from = bracketed ? text.find("]:", bracket) : 0;
  if (from == std::string::npos) return std::string::npos;
  const std::size_t colon = text.find(':', from);
  return colon < slash ? colon : std::string::npos;
}

}  // namespace

absl::StatusOr<Destination> ParseDestination(const std::string& text) {
  Destination destination;
  if (text.empty()) return Refusal(text, "it is empty; write DIR or [USER@]HOST:DIR");
  const std::size_t colon = EndOfHost(text);
  if (colon == std::string::npos) {
    destination.path = text;
    return destination;
  }
  destination.host = text.substr(0, colon);
  destination.path = text.substr(colon + 1);
  if (const std::size_t at = destination.host.rfind('@'); at != std::string::npos) {
    destination.user = destination.host.substr(0, at);
    destination.host.erase(0, at + 1);
    if (destination.user->empty()) return Refusal(text, "there is no user before the '@'");
  }
  if (absl::StartsWith(destination.host, "[") && absl::EndsWith(destination.host, "]")) {
    destination.host = destination.host.substr(1, destination.host.size() - 2);
  }
  if (destination.host.empty())
    return Refusal(text, "there is no host before the ':'; a local directory is ./ or /");
  if (absl::StartsWith(destination.host, "-")) return Refusal(text, "a host does not begin with '-'");
  if (absl::StartsWith(destination.path, ":")) {
    return Refusal(
        text, "rsync's HOST::MODULE is not spoken here; write HOST:/DIR, and an IPv6 address in brackets");
  }
  if (!absl::StartsWith(destination.path, "/")) {
    return Refusal(text, "the directory on the host must be absolute; write HOST:/DIR");
  }
  return destination;
}

}  // namespace fanmirror::cli
