// Where the headers of one packet are: what segmentation and coalescing share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "bondd/mlvpn/core/types.h"
#include "bondd/mlvpn/io/vnet_header.h"

namespace bondd::mlvpn {

// Offsets from the start of the packet, all inside it. `packet` is what the
// device handed over, with its Ethernet header on a tap.
struct IpView {
  std::size_t l3 = 0;       // IP header
  std::size_t l4 = 0;       // TCP or UDP header
  std::size_t payload = 0;  // after the L4 header
  std::size_t end = 0;      // by the IP header's length; bytes after it are padding
  bool ipv6 = false;
  std::uint8_t protocol = 0;  // kProtocolTcp or kProtocolUdp

  // Source and destination as in the header, for pseudo_header_sum().
  [[nodiscard]] std::span<const std::uint8_t> addresses(const std::uint8_t* packet) const {
    return ipv6 ? std::span{packet + l3 + 8, 32} : std::span{packet + l3 + 12, 8};
  }
};

// Offset of the IP header and whether it is IPv6; nothing for other protocols.
// On a tap up to two VLAN tags are stepped over.
struct L3Start {
  std::size_t offset = 0;
  bool ipv6 = false;
};
std::optional<L3Start> find_l3(DeviceKind kind, std::span<const std::uint8_t> packet);

// A whole TCP or UDP packet without IP options, extension headers or
// fragmentation; nothing for everything else and for lengths that contradict
// each other.
std::optional<IpView> parse_plain_packet(DeviceKind kind, std::span<const std::uint8_t> packet);

// True when the IPv4 header's and the L4 checksum are right. UDP over IPv4
// without a checksum counts as not verified.
bool checksums_valid(std::span<const std::uint8_t> packet, const IpView& view);

inline std::uint16_t load_be16(const std::uint8_t* from) {
  return static_cast<std::uint16_t>(from[0] << 8 | from[1]);
}
inline std::uint32_t load_be32(const std::uint8_t* from) {
  return std::uint32_t{load_be16(from)} << 16 | load_be16(from + 2);
}
inline void store_be16(std::uint8_t* to, std::uint64_t value) {
  to[0] = static_cast<std::uint8_t>(value >> 8);
  to[1] = static_cast<std::uint8_t>(value);
}
inline void store_be32(std::uint8_t* to, std::uint64_t value) {
  store_be16(to, value >> 16);
  store_be16(to + 2, value);
}
inline std::size_t tcp_header_size(const std::uint8_t* tcp) {
  return std::size_t{tcp[12]} / 16 * 4;
}

inline constexpr std::uint8_t kTcpFin = 0x01;
inline constexpr std::uint8_t kTcpPsh = 0x08;
inline constexpr std::uint8_t kTcpAck = 0x10;
inline constexpr std::uint8_t kTcpCwr = 0x80;

}  // namespace bondd::mlvpn
