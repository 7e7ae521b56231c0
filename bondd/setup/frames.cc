#include "bondd/setup/frames.h"

#include <algorithm>
#include <array>

#include "bondd/base/inet.h"

namespace bondd::setup {
namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t kEthernetHeader = 14, kArp = 28, kIpHeader = 20, kUdpHeader = 8, kIcmpHeader = 8;
constexpr std::uint16_t kTypeArp = 0x0806, kTypeIpv4 = 0x0800;
constexpr std::uint8_t kUdp = 17, kIcmp = 1;
constexpr std::uint8_t kUnreachable = 3, kTimeExceeded = 11;

void put16(Bytes& out, unsigned value) {
  out.push_back(static_cast<std::uint8_t>(value >> 8U));
  out.push_back(static_cast<std::uint8_t>(value));
}
void put(Bytes& out, const std::uint8_t* from, std::size_t size) {
  out.insert(out.end(), from, from + size);
}
void put(Bytes& out, const MacAddress& mac) {
  put(out, mac.bytes.data(), mac.bytes.size());
}
void put(Bytes& out, const IpAddress& address) {
  put(out, address.data(), 4);
}

std::uint16_t get16(std::span<const std::uint8_t> from, std::size_t at) {
  return static_cast<std::uint16_t>(from[at] << 8U | from[at + 1]);
}
IpAddress get_address(std::span<const std::uint8_t> from, std::size_t at) {
  return IpAddress::v4({from[at], from[at + 1], from[at + 2], from[at + 3]});
}

Bytes ethernet(const MacAddress& to, const MacAddress& from, std::uint16_t type) {
  Bytes out;
  put(out, to);
  put(out, from);
  put16(out, type);
  return out;
}

}  // namespace

Bytes arp_request(const Ethernet& own, const IpAddress& wanted) {
  MacAddress everybody;
  everybody.bytes.fill(0xff);
  Bytes out = ethernet(everybody, own.mac, kTypeArp);
  for (const unsigned value : {1U, 0x0800U, 0x0604U, 1U})
    put16(out, value);  // Ethernet, IPv4, sizes, request
  put(out, own.mac);
  put(out, own.address);
  put(out, MacAddress{});
  put(out, wanted);
  return out;
}

std::optional<Neighbour> parse_arp_reply(std::span<const std::uint8_t> frame) {
  constexpr std::uint16_t kReply = 2;
  if (frame.size() < kEthernetHeader + kArp || get16(frame, 12) != kTypeArp) return std::nullopt;
  const auto arp = frame.subspan(kEthernetHeader);
  if (get16(arp, 2) != kTypeIpv4 || get16(arp, 4) != 0x0604 || get16(arp, 6) != kReply) return std::nullopt;
  Neighbour out;
  std::copy_n(arp.begin() + 8, out.mac.bytes.size(), out.mac.bytes.begin());
  out.address = get_address(arp, 14);
  return out;
}

Bytes hop_probe(const Ethernet& own, const MacAddress& through, const IpAddress& target, unsigned host,
                unsigned ttl) {
  Bytes ip = {0x45, 0};
  put16(ip, kIpHeader + kUdpHeader);
  put16(ip, host);  // identification: anything
  put16(ip, 0);
  ip.push_back(static_cast<std::uint8_t>(ttl));
  ip.push_back(kUdp);
  put16(ip, 0);
  put(ip, own.address);
  put(ip, target);
  const std::uint16_t sum = internet_checksum(ip);
  ip[10] = static_cast<std::uint8_t>(sum >> 8U);
  ip[11] = static_cast<std::uint8_t>(sum);
  Bytes out = ethernet(through, own.mac, kTypeIpv4);
  put(out, ip.data(), ip.size());
  put16(out, kFirstSourcePort + host);
  put16(out, kFirstProbePort + ttl);
  put16(out, kUdpHeader);
  put16(out, 0);  // without a checksum, which IPv4 allows
  return out;
}

std::optional<HopAnswer> parse_hop_answer(std::span<const std::uint8_t> frame) {
  if (frame.size() < kEthernetHeader + kIpHeader || get16(frame, 12) != kTypeIpv4) return std::nullopt;
  const auto ip = frame.subspan(kEthernetHeader);
  const std::size_t header = (ip[0] & 0x0fU) * 4U;
  if (ip[0] >> 4U != 4 || header < kIpHeader || ip[9] != kIcmp) return std::nullopt;
  if (ip.size() < header + kIcmpHeader + kIpHeader) return std::nullopt;
  const auto icmp = ip.subspan(header);
  if (icmp[0] != kTimeExceeded && icmp[0] != kUnreachable) return std::nullopt;
  const auto quoted = icmp.subspan(kIcmpHeader);
  const std::size_t quoted_header = (quoted[0] & 0x0fU) * 4U;
  if (quoted[9] != kUdp || quoted_header < kIpHeader || quoted.size() < quoted_header + 4)
    return std::nullopt;
  const std::uint16_t source = get16(quoted, quoted_header), port = get16(quoted, quoted_header + 2);
  if (source < kFirstSourcePort || port <= kFirstProbePort || port > kFirstProbePort + kProbeHops) {
    return std::nullopt;
  }
  return HopAnswer{static_cast<unsigned>(source - kFirstSourcePort),
                   static_cast<unsigned>(port - kFirstProbePort), get_address(ip, 12)};
}

}  // namespace bondd::setup
