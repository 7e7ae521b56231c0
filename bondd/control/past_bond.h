// By which WAN something leaves directly, past a bond that carries nothing.
//
//   NTP of this machine   always. A machine without a clock chip starts with an old time. With a shared key
//   its
//                         packets then look like recorded ones, with certificates it may be before their
//                         first day: the bond waits for the time, and the time for the bond.
//   all else              with [failover] direct = true: the office has the Internet while the server is
//   away.
//
// Pure: states and time in, the number of a WAN out.
#pragma once

#include <optional>
#include <vector>

#include "bondd/base/units.h"

namespace bondd::control {

// An ordinary start, or a short outage, leads no NTP elsewhere.
constexpr auto kClockPatience = std::chrono::seconds(5);
// A bond that carries for that long is used again: longer than the first packets of a server that starts,
// ends and starts again, and short for who waits.
constexpr auto kBondIsBack = std::chrono::seconds(3);

class PastBond {
 public:
  // A WAN, in the file's order.
  struct Line {
    bool way_out = false;   // its interface and its gateway are known
    bool internet = false;  // something beyond its gateway answers
  };

  // Leaves the bond when it has carried nothing for `silent_for`, and returns when it has carried for
  // `sound_for` without a break.
  PastBond(Duration silent_for, Duration sound_for) : silent_for_(silent_for), sound_for_(sound_for) {}
  void set_silent_for(Duration silent_for) { silent_for_ = silent_for; }

  // `carries`: some WAN of the bond carries. Returns the number of the WAN, from 1; 0: by the bond. Stays
  // with a WAN as long as no other is known to be better.
  unsigned update(TimePoint now, bool carries, const std::vector<Line>& lines);
  // As the last update() said.
  [[nodiscard]] unsigned wan() const { return wan_; }

 private:
  [[nodiscard]] bool leaves(TimePoint now) const;

  Duration silent_for_, sound_for_;
  std::optional<bool> carries_;
  TimePoint since_;  // carries_ is as it is
  unsigned wan_ = 0;
};

}  // namespace bondd::control
