#include "select/glob.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstddef>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_format.h"

namespace fanmirror::select {
namespace {

using Bytes = std::bitset<256>;

std::size_t Index(char c) { return static_cast<unsigned char>(c); }

Bytes Only(char c) {
  Bytes bytes;
  bytes.set(Index(c));
  return bytes;
}

Bytes AllButSlash() { return ~Only('/'); }

// The bytes of "[:name:]" in the C locale; nullopt for a name that does not exist.
std::optional<Bytes> NamedClass(std::string_view name) {
  struct Named {
    std::string_view name;
    int (*holds)(int);
  };
  static constexpr std::array<Named, 12> kClasses = {{{"alnum", std::isalnum},
                                                      {"alpha", std::isalpha},
                                                      {"blank", std::isblank},
                                                      {"cntrl", std::iscntrl},
                                                      {"digit", std::isdigit},
                                                      {"graph", std::isgraph},
                                                      {"lower", std::islower},
                                                      {"print", std::isprint},
                                                      {"punct", std::ispunct},
                                                      {"space", std::isspace},
                                                      {"upper", std::isupper},
                                                      {"xdigit", std::isxdigit}}};
  constexpr int kAsciiEnd = 128;  // whatever the locale says of the bytes above
  for (const Named& named : kClasses) {
    if (named.name != name) continue;
    Bytes bytes;
    for (int c = 0; c < kAsciiEnd; ++c) bytes.set(static_cast<std::size_t>(c), named.holds(c) != 0);
    return bytes;
  }
  return std::nullopt;
}

// Takes the character class that follows a '[' off the front of `in`, with its ']'. nullopt: malformed, and
// then rsync lets the whole pattern match nothing.
std::optional<Bytes> TakeClass(std::string_view* in) {
  Bytes bytes;
  const bool inverted = !in->empty() && (in->front() == '!' || in->front() == '^');
  if (inverted) in->remove_prefix(1);
  std::optional<char> range_start;
  for (bool first = true;; first = false) {
    if (in->empty()) return std::nullopt;
    char c = in->front();
    in->remove_prefix(1);
    if (c == ']' && !first) break;
    if (c == '-' && range_start.has_value() && !in->empty() && in->front() != ']') {
      char end = in->front();
      in->remove_prefix(1);
      if (end == '\\') {
        if (in->empty()) return std::nullopt;
        end = in->front();
        in->remove_prefix(1);
      }
      for (std::size_t b = Index(*range_start); b <= Index(end); ++b) bytes.set(b);
      range_start.reset();
      continue;
    }
    if (c == '[' && !in->empty() && in->front() == ':') {
      const std::size_t close = in->find(']', 1);
      if (close == std::string_view::npos) return std::nullopt;
      if (close >= 2 && (*in)[close - 1] == ':') {
        const std::optional<Bytes> named = NamedClass(in->substr(1, close - 2));
        if (!named.has_value()) return std::nullopt;
        bytes |= *named;
        in->remove_prefix(close + 1);
        range_start.reset();
        continue;
      }
    }
    if (c == '\\') {
      if (in->empty()) return std::nullopt;
      c = in->front();
      in->remove_prefix(1);
    }
    bytes.set(Index(c));
    range_start = c;
  }
  return (inverted ? ~bytes : bytes) & AllButSlash();
}

bool IsWild(char c) { return c == '*' || c == '?' || c == '[' || c == '\\'; }

// nullopt: the pattern matches nothing.
std::optional<Glob> ParseGlob(std::string_view pattern, bool wild) {
  Glob glob;
  while (!pattern.empty()) {
    const char c = pattern.front();
    pattern.remove_prefix(1);
    if (!wild || !IsWild(c)) {
      glob.push_back({Element::Kind::kByte, Only(c)});
    } else if (c == '*') {
      const std::size_t stars = std::min(pattern.find_first_not_of('*'), pattern.size());
      pattern.remove_prefix(stars);
      glob.push_back({stars == 0 ? Element::Kind::kStar : Element::Kind::kStarStar, {}});
    } else if (c == '?') {
      glob.push_back({Element::Kind::kByte, AllButSlash()});
    } else if (c == '[') {
      const std::optional<Bytes> bytes = TakeClass(&pattern);
      if (!bytes.has_value() || bytes->none()) return std::nullopt;
      glob.push_back({Element::Kind::kByte, *bytes});
    } else {  // a backslash
      if (pattern.empty()) return std::nullopt;
      glob.push_back({Element::Kind::kByte, Only(pattern.front())});
      pattern.remove_prefix(1);
    }
  }
  return glob;
}

// What is left to match of `glob` after `text`, one glob for each way to match it.
std::vector<Glob> After(const Glob& glob, std::string_view text) {
  std::set<std::size_t> positions = {0};
  for (const char c : text) {
    std::set<std::size_t> next;
    for (const std::size_t position : positions) {
      for (std::size_t i = position; i < glob.size(); ++i) {
        const Element& element = glob[i];
        if (element.kind == Element::Kind::kByte) {
          if (element.bytes.test(Index(c))) next.insert(i + 1);
          break;
        }
        if (element.kind == Element::Kind::kStarStar || c != '/') next.insert(i);
      }
    }
    positions = std::move(next);
  }
  std::vector<Glob> rest;
  rest.reserve(positions.size());
  for (const std::size_t position : positions) {
    rest.emplace_back(glob.begin() + static_cast<std::ptrdiff_t>(position), glob.end());
  }
  return rest;
}

std::string ByteExpression(const Bytes& bytes) {
  std::string out = "[";
  for (std::size_t b = 0; b < bytes.size(); ++b) {
    if (!bytes.test(b)) continue;
    std::size_t end = b;
    while (end + 1 < bytes.size() && bytes.test(end + 1)) ++end;
    absl::StrAppendFormat(&out, "\\x%02x-\\x%02x", b, end);
    b = end;
  }
  return out + "]";
}

std::string Expression(const Glob& glob) {
  std::string out;
  for (const Element& element : glob) {
    switch (element.kind) {
      case Element::Kind::kByte:
        out += ByteExpression(element.bytes);
        break;
      case Element::Kind::kStar:
        out += ByteExpression(AllButSlash()) + "*";
        break;
      case Element::Kind::kStarStar:
        out += ".*";
        break;
    }
  }
  return out;
}

// Adds what matches the same as `glob`. With `slash_follows`, rsync matches it against the path and a '/'
// behind it: the "dir/***" that means the directory itself as well. Such a glob ends with "**".
void AddExpressions(const Glob& glob, bool slash_follows, std::vector<std::string>* out) {
  if (!glob.empty()) out->push_back(Expression(glob));
  if (!slash_follows || glob.size() < 3) return;
  const Element& before = glob[glob.size() - 2];
  if (before.kind == Element::Kind::kByte && before.bytes.test(Index('/'))) {
    out->push_back(Expression(Glob(glob.begin(), glob.end() - 2)));
  }
}

}  // namespace

bool LooksAtParents(std::string_view pattern) {
  if (pattern.size() > 1 && pattern.ends_with('/')) pattern.remove_suffix(1);
  return pattern.find('/') != std::string_view::npos || pattern.find("**") != std::string_view::npos;
}

// A slash that is none (in a class) counts: then it only says more than there can be.
std::size_t DeepestMatch(std::string_view pattern) {
  if (!LooksAtParents(pattern)) return 0;
  if (!pattern.starts_with('/') || pattern.find("**") != std::string_view::npos) return kAnyDepth;
  if (pattern.size() > 1 && pattern.ends_with('/')) pattern.remove_suffix(1);
  return static_cast<std::size_t>(std::count(pattern.begin(), pattern.end(), '/'));
}

Expressions Translate(const Rule& rule, std::string_view root, bool is_directory) {
  std::string_view pattern = rule.pattern;
  if (pattern.size() > 1 && pattern.ends_with('/')) {
    if (!is_directory) return {};
    pattern.remove_suffix(1);
  }
  const bool wild = pattern.find_first_of("*[?") != std::string_view::npos;
  const bool crosses = pattern.find("**") != std::string_view::npos;
  const bool slash_follows = is_directory && pattern.ends_with("***");

  // What rsync puts before the path it matches against.
  while (root.starts_with('/')) root.remove_prefix(1);
  while (root.ends_with('/')) root.remove_suffix(1);
  std::string prefix;
  if (rule.absolute && LooksAtParents(pattern) && !root.empty()) {
    prefix = std::string(root) + "/";
  } else if (pattern.starts_with("**")) {
    prefix = "/";
  }
  const bool anchored = pattern.starts_with('/') || pattern.starts_with("**");
  const auto slashes = std::count(pattern.begin(), pattern.end(), '/');
  if (pattern.starts_with('/')) pattern.remove_prefix(1);

  const std::optional<Glob> glob = ParseGlob(pattern, wild);
  Expressions out;
  if (!glob.has_value()) return out;
  if (!anchored) {
    // Without "**", rsync takes as many trailing components as the pattern has slashes, those within "[...]"
    // included, which match none.
    const auto matched = std::count_if(glob->begin(), glob->end(), [](const Element& element) {
      return element.kind == Element::Kind::kByte && element.bytes == Only('/');
    });
    if (!crosses && matched != slashes) return out;
    AddExpressions(*glob, slash_follows, &out.floating);
  }
  for (std::size_t start = 0; start < prefix.size() || start == 0; ++start) {
    const bool boundary = start == 0 || (!anchored && prefix[start - 1] == '/');
    if (!boundary || (!anchored && prefix.empty())) continue;
    for (const Glob& rest : After(*glob, std::string_view(prefix).substr(start))) {
      AddExpressions(rest, slash_follows, &out.anchored);
    }
  }
  return out;
}

}  // namespace fanmirror::select
