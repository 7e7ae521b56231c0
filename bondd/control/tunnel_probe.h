// The frame that both ends send on every tap, to tell which tunnels carry: what stands in it.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace bondd::control {

constexpr std::uint16_t kProbeEtherType = 0x88b5;  // IEEE 802 local experimental 1
constexpr std::size_t kMaxTunnels = 64;            // bits of the bitmaps in a probe
constexpr std::size_t kProbeSize = 84;

// A probe as it stands in a frame after the Ethernet header, big-endian.
struct Probe {
  std::uint8_t role = 0;              // 0 client, 1 server: one's own probes are never taken for the peer's
  std::uint8_t tunnel = 0;            // the sender's number of this tunnel, 0 to 63
  std::uint32_t instance = 0;         // changes when the sender starts anew
  std::uint32_t sequence = 0;         // over all tunnels of the sender: the newest view counts
  std::uint32_t tunnel_sequence = 0;  // on this tunnel: gaps are loss
  std::uint32_t sent_us = 0;          // the sender's clock, wraps after 71 minutes
  std::uint32_t echo_us = 0;          // sent_us of the last probe it got on this tunnel, 0: none
  std::uint32_t held_us = 0;          // since it got that one
  std::uint32_t transit_us = 0;       // of that one, by two clocks: only differences mean something
  std::uint64_t hears = 0;            // bit n: the sender hears us on its tunnel n
  std::uint64_t ready = 0;            // bit n: and has done so for long enough to use it
  std::uint64_t fresh = 0;            // bit n: its openvpn has not heard us since it was started
  std::uint64_t stuck = 0;            // bit n: its own openvpn leaves frames lying, silence is no death
  // Bit n: its tap n is in the bond, so that what comes out of the tunnel is taken. Empty: of a bondd before
  // 0.2, which does not tell.
  std::optional<std::uint64_t> member = 0;
  auto operator<=>(const Probe&) const = default;
};
std::array<std::uint8_t, kProbeSize> render_probe(const Probe& probe);
// None: no probe, another version, or nonsense. `payload` may be padded.
std::optional<Probe> parse_probe(std::span<const std::uint8_t> payload);

}  // namespace bondd::control
