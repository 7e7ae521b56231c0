// ICMP echo requests out and what comes back, as bytes. Pure. The bytes come from anybody.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "bondd/base/ip.h"

namespace bondd::probes {

// What an answer is about: an echo request of ours, or a UDP packet to a port.
struct IcmpAnswer {
  enum class Kind : std::uint8_t {
    kEchoReply,        // from the one that was asked
    kTimeExceeded,     // a router on the way, at which the hop limit ended
    kUnreachable,      // a router, or the machine itself, says that there is no way on
    kPortUnreachable,  // the machine itself: nothing listens on that UDP port
  };
  Kind kind = Kind::kEchoReply;
  IpAddress from;
  IpAddress to;  // where the packet that this is about was sent; of an echo reply: `from`
  std::uint16_t id = 0, sequence = 0;  // of the echo request, when it is about one
  std::uint16_t udp_port = 0;          // the destination's, when it is about UDP; else 0
  bool operator==(const IcmpAnswer&) const = default;
};

// An ICMP message, without the IP header.
std::vector<std::uint8_t> render_echo(std::uint16_t id, std::uint16_t sequence);
// A whole IPv4 packet as a raw socket gives it. Nothing for what is none of the above.
std::optional<IcmpAnswer> parse_icmp(std::span<const std::uint8_t> packet);

}  // namespace bondd::probes
