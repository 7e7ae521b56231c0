// Takes taps out of the kernel's bond without a lost packet, and says when each step is due. Pure.
//
//   kFading    packets are no longer held back (DelayMatch), so that the next step drops none of them
//   kQuiet     without carrier: the bond sends nothing by it, and takes what still arrives. The other end
//              hears no probes, takes its tap out of its bond, and stops sending
//   kLeaving   out of the bond here, too
//   kOut       with carrier again: probes go, so that it is known whether the tunnel is well
//
// A tap that leaves the bond at once loses what is in flight towards it.
#pragma once

#include <chrono>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "bondd/base/units.h"

namespace bondd::control {

class TapDrain {
 public:
  // As long as packets are held back at most (DelayMatch::kMost), and as much again.
  static constexpr Duration kFade = std::chrono::milliseconds(200);
  // The other end's limit of silence (a third of a second of an ordinary line) and the queue of a line.
  static constexpr Duration kQuiet = std::chrono::milliseconds(1500);
  static constexpr Duration kLeave = std::chrono::milliseconds(500);  // for the pass that takes it out

  struct Change {
    std::string tap;
    bool carrier;
  };
  // `wanted`: taps that shall be out. Call it several times a second. The changes are to be made now.
  std::vector<Change> update(TimePoint now, const std::set<std::string>& wanted);

  // Fading or quiet: whatever is known of the tunnel, the tap stays where it is.
  [[nodiscard]] bool keeps(const std::string& tap) const;
  // Without carrier.
  [[nodiscard]] std::set<std::string> quiet() const;
  // Taps that belong out of the bond.
  [[nodiscard]] const std::set<std::string>& out() const { return out_; }
  [[nodiscard]] bool is_draining(const std::string& tap) const { return taps_.contains(tap); }

 private:
  enum class Phase : std::uint8_t { kFading, kQuiet, kLeaving, kOut };
  struct Tap {
    Phase phase = Phase::kFading;
    TimePoint next;
  };
  std::map<std::string, Tap> taps_;
  std::set<std::string> out_;
};

}  // namespace bondd::control
