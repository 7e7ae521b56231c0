// A peer whose clock went back. With a shared key openvpn numbers its packets by the time of its start: after
// a start with an older time (a machine without a clock chip) the other end takes every packet for a replay,
// for ever. A new start of the openvpn that refuses them forgets what it has seen.
#pragma once

#include <map>
#include <string>

#include "bondd/base/units.h"

namespace bondd::control {

// True for the line that openvpn writes of a packet that is older than what came before.
bool is_replay(std::string_view line);

class ReplayWatch {
 public:
  // openvpn refused a packet of `tap`'s. Those of a tunnel that carries are of no interest.
  void handle_replay(TimePoint now, const std::string& tap);
  void handle_carries(const std::string& tap) { taps_.erase(tap); }
  // True if the tunnel's openvpn shall start anew: nothing but replays came for kReplaysOnly. Not again
  // before a pause that doubles, so that somebody who replays old packets on a dead line causes few starts.
  bool poll_restart(TimePoint now, const std::string& tap);

 private:
  struct Tap {
    unsigned replays = 0;
    TimePoint first;
    Duration pause{};
    TimePoint not_before;
  };
  std::map<std::string, Tap> taps_;
};

// Probes come 13 times a second. openvpn writes the first 10 of a row of such lines; with `mute 10`, as a
// profile of before had it, 3.
constexpr unsigned kReplaysEnough = 3;
constexpr auto kReplaysOnly = std::chrono::seconds(3);  // longer than packets are late
constexpr auto kFirstReplayPause = std::chrono::seconds(20), kLastReplayPause = std::chrono::seconds(300);

}  // namespace bondd::control
