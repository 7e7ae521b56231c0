// What decides which packet goes where, as it happens: for the simulator and for tests.
// The product has none. Two builds that decide the same write the same trace.
#pragma once

#include <cstdint>

#include "bondd/base/units.h"
#include "bondd/mlvpn/core/types.h"
#include "bondd/mlvpn/line/line.h"

namespace bondd::mlvpn {

class BrainTrace {
 public:
  BrainTrace() = default;
  BrainTrace(const BrainTrace&) = delete;
  BrainTrace& operator=(const BrainTrace&) = delete;
  virtual ~BrainTrace() = default;
  // A report confirmed packets of `link`: what is known of it now.
  virtual void on_sample(TimePoint now, LinkId link, const Line& line) = 0;
  // A packet leaves on `link`; `data_seq` is 0 for a probe.
  virtual void on_departure(TimePoint now, LinkId link, std::uint64_t data_seq) = 0;
};

}  // namespace bondd::mlvpn
