// One transfer of a speed test, from the tester's end: several TCP connections through the bond for a few
// seconds, and echo requests beside them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "bondd/base/error.h"
#include "bondd/base/ip.h"
#include "bondd/control/event_loop.h"

namespace bondd::speedtest {

// Where the other end listens, and by which device it is reached.
struct Place {
  std::string device;
  IpAddress own, peer;
  std::uint16_t port = 0;
  std::string token;
};

enum class Direction : std::uint8_t { kDown, kUp };

struct Transferred {
  std::optional<double> mbit;    // TCP payload, without the warm-up
  std::optional<double> rtt_ms;  // median of echo requests meanwhile, without the warm-up
  std::uint64_t bytes = 0;
};

constexpr Duration kTransferTime = std::chrono::seconds(4);

// Blocks for kTransferTime, less when `most_bytes` (0: no limit) have gone before. Fails when no connection
// comes about. Down and up as seen from this end. Needs CAP_NET_RAW.
Result<Transferred> transfer(control::EventLoop& loop, const Place& place, Direction direction,
                             std::uint64_t most_bytes);

// The median of echo requests through the bond for `time`; nothing when none is answered.
Result<std::optional<double>> idle_latency(control::EventLoop& loop, const Place& place, Duration time);

}  // namespace bondd::speedtest
