// The kernel's neighbour table: which addresses on a link were found by ARP, and which were not.
#pragma once

#include <cstdint>
#include <vector>

#include "bondd/base/error.h"
#include "bondd/base/ip.h"

namespace bondd::netlink {

struct NeighbourState {
  enum class State : std::uint8_t {
    kAnswers,  // has a link-layer address that was confirmed once: NUD_REACHABLE, STALE, DELAY, PROBE,
               // PERMANENT
    kFailed,   // asked for, no answer: NUD_INCOMPLETE, NUD_FAILED
    kOther,    // needs no ARP, or nothing is known: NUD_NOARP, NUD_NONE
  };
  int device = 0;  // interface index
  IpAddress address;
  State state = State::kOther;
  auto operator<=>(const NeighbourState&) const = default;
};

// IPv4 entries of all devices. Equivalent to: ip neigh show. Needs no privileges; blocks for one dump.
Result<std::vector<NeighbourState>> read_neighbour_states();

}  // namespace bondd::netlink
