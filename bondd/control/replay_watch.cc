#include "bondd/control/replay_watch.h"

#include <algorithm>

namespace bondd::control {

bool is_replay(std::string_view line) {
  return line.find("bad packet ID (may be a replay)") != std::string_view::npos;
}

void ReplayWatch::handle_replay(TimePoint now, const std::string& tap) {
  Tap& known = taps_[tap];
  if (known.replays++ == 0) known.first = now;
}

bool ReplayWatch::poll_restart(TimePoint now, const std::string& tap) {
  const auto found = taps_.find(tap);
  if (found == taps_.end()) return false;
  Tap& known = found->second;
  const bool enough = known.replays >= kReplaysEnough && now - known.first >= kReplaysOnly;
  if (!enough || now < known.not_before) return false;
  known.pause = std::clamp<Duration>(known.pause * 2, kFirstReplayPause, kLastReplayPause);
  known.not_before = now + known.pause;
  known.replays = 0;
  return true;
}

}  // namespace bondd::control
