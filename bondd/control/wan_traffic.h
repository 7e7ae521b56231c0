// What flows by each WAN now and today, told from its counters of bytes. Pure: counters and time in,
// figures out; the same for both backends and both directions.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "bondd/base/units.h"
#include "bondd/model/wan_status.h"

namespace bondd::control {

// The figures are of this long a time: the contract's "of the last 10 s".
constexpr auto kTrafficWindow = std::chrono::seconds(10);
// Below this, all WANs together carry little but our own keepalives, and a share of that says nothing.
constexpr double kIdleMbit = 0.05;

class WanTraffic {
 public:
  // The counters as they are now; `day` is any number that changes at midnight. To be called about
  // once a second. A counter that went back (an engine that was started anew) begins anew.
  void add(TimePoint now, std::int64_t day, const std::vector<model::WanStatus>& wans);
  // Sets rx_mbit, tx_mbit, both shares and both today's bytes, where they are known.
  void fill(TimePoint now, std::vector<model::WanStatus>& wans) const;

 private:
  struct Bytes {
    std::uint64_t rx = 0, tx = 0;
  };
  struct Sample {
    TimePoint when;
    Bytes flowed;  // since the WAN was first seen, restarts of its counter included
  };
  struct Wan {
    Bytes counter, flowed, today;
    std::deque<Sample> samples;
  };
  static void count(Wan& wan, const Bytes& counter);

  std::map<std::string, Wan> wans_;
  std::int64_t day_ = 0;
};

}  // namespace bondd::control
