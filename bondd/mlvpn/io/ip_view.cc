#include "bondd/mlvpn/io/ip_view.h"

#include "bondd/mlvpn/io/checksum.h"

namespace bondd::mlvpn {
namespace {

constexpr std::size_t kEthernetSize = 14;
constexpr std::uint16_t kEtherIpv4 = 0x0800;
constexpr std::uint16_t kEtherIpv6 = 0x86dd;
constexpr std::uint16_t kEtherVlan = 0x8100;
constexpr std::uint16_t kEtherQinq = 0x88a8;

std::optional<IpView> parse_l4(std::span<const std::uint8_t> packet, IpView view) {
  const std::uint8_t* l4 = packet.data() + view.l4;
  const std::size_t available = view.end - view.l4;
  if (view.protocol == kProtocolTcp) {
    if (available < 20) return std::nullopt;
    const std::size_t size = tcp_header_size(l4);
    if (size < 20 || size > available) return std::nullopt;
    view.payload = view.l4 + size;
    return view;
  }
  if (view.protocol == kProtocolUdp) {
    if (available < 8 || load_be16(l4 + 4) != available) return std::nullopt;
    view.payload = view.l4 + 8;
    return view;
  }
  return std::nullopt;
}

std::optional<IpView> parse_ipv4(std::span<const std::uint8_t> packet, std::size_t l3) {
  if (packet.size() < l3 + 20 || packet[l3] != 0x45) return std::nullopt;
  const std::uint8_t* ip = packet.data() + l3;
  const std::size_t length = load_be16(ip + 2);
  const bool fragment = (load_be16(ip + 6) & 0x3fff) != 0;
  const bool evil = (ip[6] & 0x80) != 0;  // the reserved bit: leave such packets alone
  if (fragment || evil || length < 20 || length > packet.size() - l3) return std::nullopt;
  return parse_l4(packet, IpView{.l3 = l3, .l4 = l3 + 20, .end = l3 + length, .protocol = ip[9]});
}

std::optional<IpView> parse_ipv6(std::span<const std::uint8_t> packet, std::size_t l3) {
  if (packet.size() < l3 + 40 || packet[l3] >> 4 != 6) return std::nullopt;
  const std::uint8_t* ip = packet.data() + l3;
  const std::size_t length = load_be16(ip + 4);
  if (length > packet.size() - l3 - 40) return std::nullopt;
  return parse_l4(packet,
                  IpView{.l3 = l3, .l4 = l3 + 40, .end = l3 + 40 + length, .ipv6 = true, .protocol = ip[6]});
}

}  // namespace

std::optional<L3Start> find_l3(DeviceKind kind, std::span<const std::uint8_t> packet) {
  if (kind == DeviceKind::kTun) {
    if (packet.empty()) return std::nullopt;
    const int version = packet[0] >> 4;
    if (version != 4 && version != 6) return std::nullopt;
    return L3Start{0, version == 6};
  }
  std::size_t offset = kEthernetSize;
  for (int tags = 0; packet.size() >= offset; ++tags, offset += 4) {
    const std::uint16_t type = load_be16(packet.data() + offset - 2);
    if (type == kEtherIpv4 || type == kEtherIpv6) return L3Start{offset, type == kEtherIpv6};
    if ((type != kEtherVlan && type != kEtherQinq) || tags == 2) break;
  }
  return std::nullopt;
}

std::optional<IpView> parse_plain_packet(DeviceKind kind, std::span<const std::uint8_t> packet) {
  const std::optional<L3Start> l3 = find_l3(kind, packet);
  if (!l3) return std::nullopt;
  return l3->ipv6 ? parse_ipv6(packet, l3->offset) : parse_ipv4(packet, l3->offset);
}

bool checksums_valid(std::span<const std::uint8_t> packet, const IpView& view) {
  if (!view.ipv6 && checksum_fold(checksum_add(packet.subspan(view.l3, 20))) != 0xffff) return false;
  const std::uint8_t* l4 = packet.data() + view.l4;
  if (view.protocol == kProtocolUdp && load_be16(l4 + 6) == 0) return false;
  const std::size_t length = view.end - view.l4;
  const std::uint64_t pseudo = pseudo_header_sum(view.addresses(packet.data()), view.protocol, length);
  return checksum_fold(checksum_add(packet.subspan(view.l4, length), pseudo)) == 0xffff;
}

}  // namespace bondd::mlvpn
