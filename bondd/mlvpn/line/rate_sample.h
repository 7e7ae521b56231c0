// What one report (bondd peer) or echo (original peer) says about the newest packet that it
// confirms. The only thing that a line is measured by.
#pragma once

#include <optional>

#include "bondd/base/units.h"

namespace bondd::mlvpn {

struct RateSample {
  TimePoint now{};
  TimePoint sent{};  // when that packet was sent
  double one_way_ms =
      0;  // its delay; the zero is arbitrary but the same on all links. An echo: the round trip
  double rtt_ms = 0;
  // When it arrived, by our clock and an unknown constant; empty for an echo.
  std::optional<TimePoint> arrived;
  double delivered = 0;        // bytes confirmed so far on this link, all together
  std::optional<double> rate;  // bytes/s, measured over about one round trip
  bool app_limited = false;    // the link was not kept busy when that packet was sent
  bool control = false;        // that packet carried no data: it tells of delay only
  bool light = false;          // hardly anything was in flight with it
  std::optional<double>
      in_flight;  // bytes in flight when it was sent, itself included; empty: unknown, a lot
};

}  // namespace bondd::mlvpn
