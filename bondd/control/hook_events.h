// For what changes of a site its hook program is run, and with which words: MLVPN's where MLVPN has a word
// (mlvpn(1), statuscommand), so that its scripts go on working, and ours for all else. Pure: time and states
// in, calls out.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bondd/base/units.h"
#include "bondd/model/config.h"
#include "bondd/model/event.h"
#include "bondd/model/status.h"

namespace bondd::control {

// One run of the program.
struct HookCall {
  // "rtun_up", "rtun_down" of a WAN, "tuntap_up", "tuntap_down" of the bond; "wan_" and a WAN's state,
  // "bond_" and the site's; "wan_loss", "wan_loss_over", "wan_latency", "wan_latency_over"; "problem",
  // "problem_over"; "test".
  std::string word;
  model::Event event;
  bool operator==(const HookCall&) const = default;
};

class HookEvents {
 public:
  // A threshold counts once it was crossed for kLong, and is over once the figure was well below it for
  // kOver: a line at its limit does not call again and again.
  static constexpr Duration kLong = std::chrono::seconds(10);
  static constexpr Duration kOver = std::chrono::seconds(30);
  static constexpr double kWellBelow = 0.7;  // of the threshold

  // What happened since the last call; at the first one, what is up already. `now` and `wall` (seconds since
  // 1970) are of the same moment. To be called about once a second.
  std::vector<HookCall> update(TimePoint now, std::int64_t wall, const model::Hooks& hooks,
                               const model::SiteStatus& site);

 private:
  // One figure of one WAN against its threshold.
  struct Threshold {
    bool crossed = false;
    std::optional<TimePoint> since;                          // it is on the other side than `crossed` says
    bool update(TimePoint now, double value, double limit);  // true: it changed sides
  };
  struct Thresholds {
    Threshold loss, latency;
  };
  void compare(TimePoint now, const model::Hooks& hooks, const model::Event& blank,
               const model::WanStatus& wan, std::vector<HookCall>& out);

  std::optional<model::SiteStatus> before_;
  std::map<std::string, Thresholds> thresholds_;  // by WAN, while it is heard
};

// The program's arguments after its path: the bond's interface, the word, and the WAN, if there is one.
std::vector<std::string> hook_arguments(const model::Config& config, const HookCall& call);
// "NAME=value": MLVPN's variables and BONDD_SITE, _EVENT, _WAN, _FROM, _TO, _REASON, _TIME. `mtu` is the
// bond's; 0: not known. Control characters in what the other end may have said become '?'.
std::vector<std::string> hook_environment(const model::Config& config, std::uint32_t mtu,
                                          const HookCall& call);

}  // namespace bondd::control
