// By which WAN this machine asks the time (NTP) while the bond carries nothing. A machine without a clock
// chip starts with an old time. With a shared key its packets then look like recorded ones, with
// certificates it may be before their first day: the bond waits for the time, and the time for the bond.
// Pure: states and time in, the number of a WAN out.
#pragma once

#include <optional>
#include <vector>

#include "bondd/base/units.h"

namespace bondd::control {

// An ordinary start, or a short outage, moves nothing.
constexpr auto kBondSilentFor = std::chrono::seconds(5);

class PastBond {
 public:
  // A WAN, in the file's order.
  struct Line {
    bool way_out = false;   // its interface and its gateway are known
    bool internet = false;  // something beyond its gateway answers
  };
  // `carries`: some WAN of the bond carries. Returns the number of the WAN, from 1; 0: NTP takes the way of
  // all else. Stays with a WAN as long as no other is known to be better.
  unsigned update(TimePoint now, bool carries, const std::vector<Line>& lines);
  // As the last update() said.
  [[nodiscard]] unsigned wan() const { return wan_; }

 private:
  std::optional<TimePoint> silent_since_;
  unsigned wan_ = 0;
};

}  // namespace bondd::control
