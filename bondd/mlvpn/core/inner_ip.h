// The IP packet in what the device gave: a tun's packet itself, or what a tap's Ethernet frame carries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "bondd/mlvpn/core/types.h"

namespace bondd::mlvpn {

inline constexpr std::size_t kEthernetHeader = 14, kIp4Header = 20, kIp6Header = 40;

// Empty when it carries something else, or less than IP's fixed header. Of IPv4 when its first byte is 4x,
// else of IPv6.
template <typename Byte>
std::span<Byte> inner_ip(std::span<Byte> packet, DeviceKind device) {
  if (device == DeviceKind::kTap) {
    if (packet.size() < kEthernetHeader) return {};
    const unsigned type = packet[12] << 8 | packet[13];
    if (type != 0x0800 && type != 0x86dd) return {};  // IEEE 802: IPv4, IPv6
    packet = packet.subspan(kEthernetHeader);
  }
  const bool four = packet.size() >= kIp4Header && packet[0] >> 4 == 4;
  const bool six = packet.size() >= kIp6Header && packet[0] >> 4 == 6;
  return four || six ? packet : std::span<Byte>{};
}

}  // namespace bondd::mlvpn
