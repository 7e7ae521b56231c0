// Ethernet frames of the gateway probe, as bytes. Pure.
//
//   1. who is there:      ARP request for each address of the network  -> ARP reply: address and MAC
//   2. who forwards:      UDP to the VPS through each MAC, TTL 1 to kProbeHops
//                         -> ICMP "time exceeded" from that host itself: it is a gateway
//                         -> any ICMP from another address: its line leads on
//
// A host that forwards nothing is silent. Which probe an ICMP error answers is told by the UDP ports that
// it quotes: the source port names the host, the destination port the TTL (as traceroute(8) does).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "bondd/base/ip.h"

namespace bondd::setup {

constexpr unsigned kProbeHops = 5;  // a gateway, its provider's access router, and some to spare
constexpr std::uint16_t kFirstProbePort = 33434;  // traceroute's
constexpr std::uint16_t kFirstSourcePort = 40000;

struct Ethernet {
  MacAddress mac;     // own
  IpAddress address;  // own, IPv4
};

std::vector<std::uint8_t> arp_request(const Ethernet& own, const IpAddress& wanted);

struct Neighbour {
  IpAddress address;
  MacAddress mac;
  auto operator<=>(const Neighbour&) const = default;
};
// Nothing if the frame is no ARP reply.
std::optional<Neighbour> parse_arp_reply(std::span<const std::uint8_t> frame);

// Probe of host number `host`, through its MAC, to `target` with that time to live.
std::vector<std::uint8_t> hop_probe(const Ethernet& own, const MacAddress& through, const IpAddress& target,
                                    unsigned host, unsigned ttl);

struct HopAnswer {
  unsigned host = 0, ttl = 0;
  IpAddress from;
  auto operator<=>(const HopAnswer&) const = default;
};
// Nothing if the frame is no ICMP error about a probe.
std::optional<HopAnswer> parse_hop_answer(std::span<const std::uint8_t> frame);

}  // namespace bondd::setup
