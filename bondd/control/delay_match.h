// How long each tap of a balance-rr bond holds its packets back, so that what was sent together
// arrives together. Pure: what the lines do and the time in, delays out.
//
// The bond deals a flow's packets out in turns. Lines of 25 and 12 ms bring them out of order by
// 13 ms; TCP takes many of them for lost (RACK, RFC 8985, waits a quarter of the shortest round
// trip) and sends them twice. A flow is no faster than its slower line anyway.
//
// Only the lines' own delays count, not their queues: a line that is busy sends its next packet when
// the one before has gone, however long that was held back here.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bondd/base/units.h"

namespace bondd::control {

class DelayMatch {
 public:
  // Lines further apart than this are left as they are: so much waiting hurts everybody
  // else. bondd has another backend for them.
  static constexpr Duration kMost = std::chrono::milliseconds(100);

  struct Line {
    std::string tap;
    bool carries = false;
    // How much later than by the soonest line packets arrive; empty: not known yet.
    std::optional<Duration> behind;
  };
  struct Change {
    std::string tap;
    Duration delay;  // from now on
  };

  // All lines of the bond as they are now; none of them carries when the bond's mode sends no flow by two.
  // Changes come at most once a second, and only for what is worth it: a change brings packets out
  // of order itself.
  std::vector<Change> update(TimePoint now, const std::vector<Line>& lines);
  // The tap is gone, or could not be changed: it holds nothing back.
  void forget(const std::string& tap) { delays_.erase(tap); }

 private:
  std::map<std::string, Duration> delays_;
  std::optional<TimePoint> changed_;
};

}  // namespace bondd::control
