#include "bondd/control/tap_drain.h"

#include <algorithm>

namespace bondd::control {

std::vector<TapDrain::Change> TapDrain::update(TimePoint now, const std::set<std::string>& wanted) {
  std::vector<Change> changes;
  std::erase_if(taps_, [&](const auto& entry) {
    const auto& [tap, state] = entry;
    if (wanted.contains(tap)) return false;
    if (state.phase == Phase::kQuiet || state.phase == Phase::kLeaving) changes.push_back({tap, true});
    out_.erase(tap);
    return true;
  });
  for (const std::string& tap : wanted) {
    const auto [entry, added] = taps_.try_emplace(tap, Tap{Phase::kFading, now + kFade});
    Tap& state = entry->second;
    if (state.phase == Phase::kOut || now < state.next) continue;
    switch (state.phase) {
      case Phase::kFading:
        state = {Phase::kQuiet, now + kQuiet};
        changes.push_back({tap, false});
        break;
      case Phase::kQuiet:
        state = {Phase::kLeaving, now + kLeave};
        out_.insert(tap);
        break;
      case Phase::kLeaving:
        state.phase = Phase::kOut;
        changes.push_back({tap, true});
        break;
      case Phase::kOut:
        break;
    }
  }
  return changes;
}

std::set<std::string> TapDrain::quiet() const {
  std::set<std::string> taps;
  for (const auto& [tap, state] : taps_) {
    if (state.phase == Phase::kQuiet || state.phase == Phase::kLeaving) taps.insert(tap);
  }
  return taps;
}

bool TapDrain::keeps(const std::string& tap) const {
  return taps_.contains(tap) && !out_.contains(tap);
}

}  // namespace bondd::control
