#include "watch/event_map.h"

#include <sys/fanotify.h>

#include <algorithm>

namespace fanmirror::watch {
namespace {

using Kind = model::Change::Kind;

// What each kind of event says. A merged event says all that its bits say.
struct Meaning {
  std::uint64_t mask;
  bool entry_changed;    // the entry came or went
  bool entries_changed;  // the entry `from` went and `to` came (or the other way round, in an exchange)
  bool node_changed;     // content or metadata of the target
  bool content_changed;  // content of the target
};
// clang-format off
constexpr Meaning kMeanings[] = {
    // mask            entry  entries node   content
    {FAN_CREATE,       true,  false,  false, false},
    {FAN_DELETE,       true,  false,  false, false},
    {FAN_RENAME,       false, true,   false, false},
    {FAN_MODIFY,       false, false,  true,  true},
    {FAN_CLOSE_WRITE,  false, false,  true,  true},
    {FAN_ATTRIB,       false, false,  true,  false},
};
// clang-format on

Meaning MeaningOf(std::uint64_t mask) {
  Meaning sum{};
  for (const Meaning& each : kMeanings) {
    if ((mask & each.mask) == 0) continue;
    sum.mask |= each.mask;
    sum.entry_changed |= each.entry_changed;
    sum.entries_changed |= each.entries_changed;
    sum.node_changed |= each.node_changed;
    sum.content_changed |= each.content_changed;
  }
  return sum;
}

// An O_TMPFILE descriptor's events name "#<inode>" in the directory that it was opened in, also after it was
// linked somewhere else. A real file may be named like that, too: asking the node is right for both.
bool IsTemporaryName(std::string_view name) {
  return name.size() > 1 && name[0] == '#' &&
         std::all_of(name.begin() + 1, name.end(), [](char c) { return c >= '0' && c <= '9'; });
}

EventPlace PlaceOf(const EventEntry& entry, bool is_directory) {
  if (entry.dir.empty()) return {};
  const auto kind = entry.name == "." ? EventPlace::Kind::kDirectory : EventPlace::Kind::kEntry;
  return {kind, entry.dir, entry.name, is_directory};
}

bool NamesEntry(const EventEntry& entry) {
  return !entry.dir.empty() && entry.name != "." && !entry.name.empty();
}

Candidate NameCandidate(const EventEntry& entry, bool is_directory, bool content) {
  return {Kind::kName, entry.dir, entry.name, content, PlaceOf(entry, is_directory), {}};
}

}  // namespace

Candidates MapEvent(const Event& event) {
  const Meaning meaning = MeaningOf(event.mask);
  const bool is_directory = (event.mask & FAN_ONDIR) != 0;
  Candidates out;
  if (meaning.entry_changed) {
    if (NamesEntry(event.entry))
      out.Add(NameCandidate(event.entry, is_directory, false));
    else
      out.untraceable_ = true;
  }
  if (meaning.entries_changed) {
    for (const EventEntry* entry : {&event.from, &event.to}) {
      if (NamesEntry(*entry))
        out.Add(NameCandidate(*entry, is_directory, false));
      else
        out.untraceable_ = true;
    }
    if (!event.target.empty()) {
      out.Add({is_directory ? Kind::kTree : Kind::kNode, event.target, {}, !is_directory,
               PlaceOf(event.to, is_directory), PlaceOf(event.from, is_directory)});
    }
  }
  if (meaning.node_changed) {
    const bool itself = event.entry.name == "." && !event.entry.dir.empty();
    const model::FileId& node = itself ? event.entry.dir : event.target;
    if (!node.empty()) {
      const EventPlace place =
          IsTemporaryName(event.entry.name) ? EventPlace{} : PlaceOf(event.entry, is_directory);
      out.Add({Kind::kNode, node, {}, meaning.content_changed, place, {}});
    } else if (NamesEntry(event.entry)) {
      out.Add(NameCandidate(event.entry, is_directory, meaning.content_changed));
    } else {
      out.untraceable_ = true;
    }
  }
  return out;
}

}  // namespace fanmirror::watch
