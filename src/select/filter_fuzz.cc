#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "select/filter.h"

// Rules as people write them (lines up to an empty one), and the paths that they are asked about (the lines after it).
namespace {

// Rules beyond only cost time.
constexpr std::size_t kMaxFuzzedRules = 200;

std::string_view TakeLine(std::string_view* text) {
  const std::string_view line = text->substr(0, text->find('\n'));
  text->remove_prefix(line.size() < text->size() ? line.size() + 1 : line.size());
  return line;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using fanmirror::select::Filter;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  std::vector<fanmirror::select::Rule> rules;
  while (!text.empty() && rules.size() < kMaxFuzzedRules) {
    const std::string_view line = TakeLine(&text);
    if (line.empty()) break;
    auto parsed = fanmirror::select::ParseFilterLine(line);
    if (parsed.ok()) rules.insert(rules.end(), parsed->begin(), parsed->end());
    if (auto rule = fanmirror::select::ParsePattern(line, /*include=*/false); rule.ok()) rules.push_back(*rule);
  }
  static_cast<void>(fanmirror::select::ParseExcludeFrom(text).ok());
  const auto filter = Filter::Compile(rules, "/srv/source");
  if (!filter.ok()) return 0;
  while (!text.empty()) {
    const std::string_view path = TakeLine(&text);
    for (const bool directory : {false, true}) {
      // What excludes an entry excludes it for who asks with its parents, too.
      if (filter->Excludes(path, directory) && !filter->ExcludesWithParents(path, directory)) std::abort();
    }
    if (filter->Excludes("", true)) std::abort();
  }
  return 0;
}
