// The virtio-net header that a tun opened with IFF_VNET_HDR puts before every
// packet. Declared here because linux/virtio_net.h has a member called `class`.
#pragma once

#include <cstdint>

namespace bondd::mlvpn {

// Native byte order (tun's default), 10 bytes (TUNSETVNETHDRSZ's default).
struct VnetHeader {
  std::uint8_t flags = 0;
  std::uint8_t gso_type = 0;
  std::uint16_t hdr_len = 0;      // a hint that senders get wrong: never trusted
  std::uint16_t gso_size = 0;     // bytes of payload per segment
  std::uint16_t csum_start = 0;   // from the start of the packet
  std::uint16_t csum_offset = 0;  // from csum_start to the checksum field
};
static_assert(sizeof(VnetHeader) == 10);

inline constexpr std::uint8_t kVnetNeedsCsum = 1;  // the checksum field holds the pseudo-header's sum
inline constexpr std::uint8_t kVnetDataValid = 2;  // the checksum was verified

inline constexpr std::uint8_t kGsoNone = 0;
inline constexpr std::uint8_t kGsoTcpV4 = 1;
inline constexpr std::uint8_t kGsoTcpV6 = 4;
inline constexpr std::uint8_t kGsoUdpL4 = 5;
inline constexpr std::uint8_t kGsoEcn = 0x80;  // a flag beside the type: CWR was set

inline constexpr std::uint8_t kProtocolTcp = 6;
inline constexpr std::uint8_t kProtocolUdp = 17;

}  // namespace bondd::mlvpn
