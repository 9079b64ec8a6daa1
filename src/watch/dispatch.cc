#include "watch/dispatch.h"

#include <sys/fanotify.h>

#include "watch/event_map.h"

namespace fanmirror::watch {

std::uint64_t EventDispatch::Add(const Subscription& subscription) {
  selections_.try_emplace(++last_id_, subscription);
  return last_id_;
}

EventDispatch::Tally EventDispatch::Dispatch(std::string_view buffer, int own_pid) {
  Tally tally;
  const bool whole = ParseEvents(buffer, [&](const Event& event) {
    ++tally.events;
    if (event.pid != own_pid) Offer(event, &tally);
  });
  if (!whole) ++tally.overflows;
  for (auto& [id, each] : selections_) each.Flush();
  if (tally.overflows > 0 || tally.damaged_anywhere) Lose();
  return tally;
}

void EventDispatch::Offer(const Event& event, Tally* tally) {
  if ((event.mask & FAN_Q_OVERFLOW) != 0) ++tally->overflows;
  if ((event.mask & FAN_FS_ERROR) != 0) {
    ++tally->filesystem_errors;
    tally->damaged_anywhere |= event.target.empty();
    for (auto& [id, each] : selections_) each.OfferDamaged(event.target);
  }
  const Candidates candidates = MapEvent(event);
  if (candidates.untraceable()) ++tally->overflows;
  const bool directory = (event.mask & FAN_ONDIR) != 0;
  for (auto& [id, each] : selections_) {
    if (directory && (event.mask & FAN_RENAME) != 0) each.ForgetPlaces();
    for (const Candidate& candidate : candidates.list()) each.Offer(candidate);
    if (directory && (event.mask & FAN_DELETE) != 0) each.ForgetPlace(event.target);
  }
}

void EventDispatch::Lose() {
  for (auto& [id, each] : selections_) each.Lost();
}

}  // namespace fanmirror::watch
