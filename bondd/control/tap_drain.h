// Takes taps out of the kernel's bond without a lost packet, and says when each step is due. Pure.
//
//   kFading    packets are no longer held back (DelayMatch), so that the next step drops none of them
//   kQuiet     without carrier: the bond sends nothing by it, and takes what still arrives. The other end
//              hears no probes, takes its tap out of its bond, which ends its sending, and says so
//   kLeaving   out of the bond here, too
//   kOut       with carrier again: probes go, so that it is known whether the tunnel is well
//
// A tap that leaves the bond at once loses what is in flight towards it. How it comes back: liveness.h.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "bondd/base/units.h"
#include "bondd/control/liveness.h"

namespace bondd::control {

class TapDrain {
 public:
  // As long as packets are held back at most (DelayMatch::kMost), and as much again.
  static constexpr Duration kFade = std::chrono::milliseconds(200);
  // What the other end sent last is in the queue of a line.
  static constexpr Duration kInFlight = std::chrono::milliseconds(1000);
  // Of an end that does not say when its tap has left: its limit of silence (a third of a second of an
  // ordinary line) and the queue.
  static constexpr Duration kQuiet = std::chrono::milliseconds(1500);
  // An end that says it uses the tap still, for as long, has errors of its own.
  static constexpr Duration kQuietMost = std::chrono::seconds(10);

  // Who has this tap in its bond now.
  struct Use {
    PeerUse peer = PeerUse::kUnknown;
    bool here = true;
  };
  // `wanted`: taps that shall be out. Call it several times a second.
  void update(TimePoint now, const std::map<std::string, Use>& wanted);

  // Fading or quiet: whatever is known of the tunnel, the tap stays where it is.
  [[nodiscard]] bool keeps(const std::string& tap) const;
  // Are to be without carrier.
  [[nodiscard]] std::set<std::string> quiet() const;
  // Taps that belong out of the bond.
  [[nodiscard]] const std::set<std::string>& out() const { return out_; }
  [[nodiscard]] bool is_draining(const std::string& tap) const { return taps_.contains(tap); }

 private:
  enum class Phase : std::uint8_t { kFading, kQuiet, kLeaving, kOut };
  struct Tap {
    Phase phase = Phase::kFading;
    TimePoint since;                     // of the phase
    std::optional<TimePoint> peer_left;  // since when the other end does not use it
  };
  static Phase after(Phase phase);
  static bool is_over(TimePoint now, const Use& use, Tap& tap);

  std::map<std::string, Tap> taps_;
  std::set<std::string> out_;
};

}  // namespace bondd::control
