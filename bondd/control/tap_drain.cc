#include "bondd/control/tap_drain.h"

namespace bondd::control {

TapDrain::Phase TapDrain::after(Phase phase) {
  switch (phase) {
    case Phase::kFading:
      return Phase::kQuiet;
    case Phase::kQuiet:
      return Phase::kLeaving;
    case Phase::kLeaving:
    case Phase::kOut:
      return Phase::kOut;
  }
  return Phase::kOut;
}

// Whether the phase of this tap has lasted long enough.
bool TapDrain::is_over(TimePoint now, const Use& use, Tap& tap) {
  const Duration age = now - tap.since;
  switch (tap.phase) {
    case Phase::kFading:
      return age >= kFade;
    case Phase::kQuiet:
      if (use.peer != PeerUse::kLeft) tap.peer_left.reset();
      if (use.peer == PeerUse::kUses) return age >= kQuietMost;
      if (use.peer == PeerUse::kUnknown) return age >= kQuiet;
      if (!tap.peer_left) tap.peer_left = now;
      return now - *tap.peer_left >= kInFlight;
    case Phase::kLeaving:
      return !use.here;
    case Phase::kOut:
      return false;
  }
  return false;
}

void TapDrain::update(TimePoint now, const std::map<std::string, Use>& wanted) {
  std::erase_if(taps_, [&](const auto& entry) { return !wanted.contains(entry.first); });
  std::erase_if(out_, [&](const std::string& tap) { return !wanted.contains(tap); });
  for (const auto& [name, use] : wanted) {
    const auto [entry, added] = taps_.try_emplace(name, Tap{Phase::kFading, now, std::nullopt});
    Tap& tap = entry->second;
    if (!is_over(now, use, tap)) continue;
    tap.phase = after(tap.phase);
    tap.since = now;
    if (tap.phase == Phase::kLeaving) out_.insert(name);
  }
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
