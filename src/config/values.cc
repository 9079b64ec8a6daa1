#include "config/values.h"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "model/failure.h"

namespace fanmirror::config {
namespace {

// Enough for any sensible figure, and no overflow when it is multiplied by the largest unit.
constexpr std::size_t kMaxDigits = 9;

absl::Status Refuse(std::string_view text, std::string_view why) {
  return model::Failure(model::Reaction::kHaltJob,
                        absl::StrCat(model::QuotePath(text), " ", std::string(why)));
}

// Splits "100ms" into 100 and "ms".
std::optional<std::uint64_t> TakeNumber(std::string_view* text) {
  const std::size_t digits = std::min(text->find_first_not_of("0123456789"), text->size());
  std::uint64_t number = 0;
  if (digits == 0 || digits > kMaxDigits) return std::nullopt;
  if (!absl::SimpleAtoi(std::string(text->substr(0, digits)), &number)) return std::nullopt;
  text->remove_prefix(digits);
  return number;
}

bool IsHostCharacter(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
         std::string_view("._-:%").find(c) != std::string_view::npos;
}

std::size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
    }
  }
  return row[b.size()];
}

}  // namespace

absl::StatusOr<double> ParsePercent(std::string_view text) {
  std::string_view unit = text;
  const std::optional<std::uint64_t> number = TakeNumber(&unit);
  if (number && unit == "%" && *number >= 1 && *number <= 99) return static_cast<double>(*number) / 100;
  return Refuse(text, "is no percentage; write \"1%\" to \"99%\"");
}

absl::StatusOr<absl::Duration> ParseDuration(std::string_view text) {
  std::string_view unit = text;
  const std::optional<std::uint64_t> number = TakeNumber(&unit);
  if (number.has_value()) {
    const auto count = static_cast<std::int64_t>(*number);
    if (unit == "ms") return absl::Milliseconds(count);
    if (unit == "s") return absl::Seconds(count);
    if (unit == "m") return absl::Minutes(count);
    if (unit == "h") return absl::Hours(count);
  }
  return Refuse(text, "is no duration; write a whole number and ms, s, m or h, such as \"100ms\"");
}

absl::StatusOr<std::uint64_t> ParseRate(std::string_view text) {
  struct Unit {
    std::string_view name;
    std::uint64_t bytes;
  };
  static constexpr Unit kUnits[] = {{"B/s", 1},           {"kB/s", 1000},        {"MB/s", 1000000},
                                    {"GB/s", 1000000000}, {"KiB/s", 1ULL << 10}, {"MiB/s", 1ULL << 20},
                                    {"GiB/s", 1ULL << 30}};
  std::string_view rest = text;
  if (const std::optional<std::uint64_t> number = TakeNumber(&rest); number.has_value()) {
    for (const Unit& unit : kUnits) {
      if (unit.name == rest) return *number * unit.bytes;
    }
  }
  return Refuse(text,
                "is no rate; write a whole number and B/s, kB/s, MB/s, GB/s, KiB/s, MiB/s or GiB/s, such as "
                "\"50MiB/s\"");
}

absl::StatusOr<Host> ParseHost(std::string_view text) {
  Host host;
  std::string_view name = text;
  if (const std::size_t at = text.rfind('@'); at != std::string_view::npos) {
    const std::string_view user = text.substr(0, at);
    const bool printable = std::all_of(user.begin(), user.end(), [](char c) { return c > ' ' && c < 0x7f; });
    if (user.empty() || !printable || user.front() == '-') {
      return Refuse(text, "has no valid user before the '@'; write \"USER@HOST\" or \"HOST\"");
    }
    host.user = std::string(user);
    name = text.substr(at + 1);
  }
  if (name.empty())
    return Refuse(text, "names no host; write \"USER@HOST\" or \"HOST\", or remove it for a local directory");
  if (name.front() == '[') return Refuse(text, "has brackets; write the IPv6 address without them");
  if (std::count(name.begin(), name.end(), ':') == 1) {
    return Refuse(text, "holds a port or a path; write those as port = ... and path = ...");
  }
  if (name.front() == '-' || !std::all_of(name.begin(), name.end(), IsHostCharacter)) {
    return Refuse(text, "is no host name or address; write \"USER@HOST\" or \"HOST\"");
  }
  host.name = std::string(name);
  return host;
}

std::string NormalizePath(std::string_view path) {
  std::string out;
  for (std::size_t at = 0; at < path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const std::string_view component = path.substr(at, end - at);
    if (!component.empty() && component != ".") {
      if (!out.empty() || path.front() == '/') out += '/';
      out += component;
    }
    at = end + 1;
  }
  if (out.empty() && path.starts_with('/')) return "/";
  return out;
}

std::string_view Nearest(std::string_view word, absl::Span<const std::string_view> known) {
  // Two slips are forgiven in any word, and one in three characters of a long one.
  const std::size_t forgiven = std::max<std::size_t>(2, word.size() / 3);
  constexpr std::size_t kLongestWord = 64;  // no key is near that; keeps the comparison cheap
  if (word.size() > kLongestWord) return "";
  std::string_view best;
  std::size_t best_distance = forgiven + 1;
  for (const std::string_view candidate : known) {
    const std::size_t distance = EditDistance(word, candidate);
    if (distance < best_distance && distance < candidate.size()) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace fanmirror::config
