#include "bondd/probes/icmp.h"

#include <netinet/in.h>
#include <netinet/ip_icmp.h>

#include <array>

#include "bondd/base/inet.h"

namespace bondd::probes {
namespace {

constexpr std::size_t kIpHeader = 20;  // without options
constexpr std::size_t kIcmpHeader = 8;
constexpr std::size_t kPayload = 8;  // bytes; some routers drop echo requests with none

std::uint16_t be16(std::span<const std::uint8_t> bytes, std::size_t at) {
  return static_cast<std::uint16_t>(bytes[at] << 8U | bytes[at + 1]);
}

IpAddress address_at(std::span<const std::uint8_t> packet, std::size_t at) {
  return IpAddress::v4(std::array{packet[at], packet[at + 1], packet[at + 2], packet[at + 3]});
}

struct Ip {
  std::uint8_t protocol = 0;
  IpAddress from, to;
  std::span<const std::uint8_t> payload;
};

std::optional<Ip> parse_ip_packet(std::span<const std::uint8_t> packet) {
  if (packet.size() < kIpHeader || packet[0] >> 4U != 4) return std::nullopt;
  const std::size_t header = std::size_t{packet[0] & 0x0fU} * 4;
  if (header < kIpHeader || packet.size() < header) return std::nullopt;
  return Ip{packet[9], address_at(packet, 12), address_at(packet, 16), packet.subspan(header)};
}

std::optional<IcmpAnswer::Kind> kind_of(std::uint8_t type, std::uint8_t code) {
  using Kind = IcmpAnswer::Kind;
  if (type == ICMP_ECHOREPLY) return Kind::kEchoReply;
  if (type == ICMP_TIME_EXCEEDED && code == ICMP_EXC_TTL) return Kind::kTimeExceeded;
  if (type != ICMP_DEST_UNREACH) return std::nullopt;
  if (code == ICMP_FRAG_NEEDED) return std::nullopt;  // about a packet's size, not about the way
  return code == ICMP_PORT_UNREACH ? Kind::kPortUnreachable : Kind::kUnreachable;
}

}  // namespace

std::vector<std::uint8_t> render_echo(std::uint16_t id, std::uint16_t sequence) {
  std::vector<std::uint8_t> out(kIcmpHeader + kPayload);
  const auto put = [&out](std::size_t at, std::uint16_t value) {
    out[at] = static_cast<std::uint8_t>(value >> 8U);
    out[at + 1] = static_cast<std::uint8_t>(value);
  };
  out[0] = ICMP_ECHO;
  put(4, id);
  put(6, sequence);
  put(2, internet_checksum(out));
  return out;
}

std::optional<IcmpAnswer> parse_icmp(std::span<const std::uint8_t> packet) {
  const auto ip = parse_ip_packet(packet);
  if (!ip || ip->protocol != IPPROTO_ICMP || ip->payload.size() < kIcmpHeader) return std::nullopt;
  const auto kind = kind_of(ip->payload[0], ip->payload[1]);
  if (!kind) return std::nullopt;
  IcmpAnswer answer{*kind, ip->from, ip->from, 0, 0, 0};
  if (*kind == IcmpAnswer::Kind::kEchoReply) {
    answer.id = be16(ip->payload, 4);
    answer.sequence = be16(ip->payload, 6);
    return answer;
  }
  // The packet that it is about: its IP header and at least 8 bytes (RFC 792).
  const auto about = parse_ip_packet(ip->payload.subspan(kIcmpHeader));
  if (!about || about->payload.size() < kIcmpHeader) return std::nullopt;
  if (ip->from == about->from) return std::nullopt;  // this machine's own kernel, whose neighbour is silent
  answer.to = about->to;
  if (about->protocol == IPPROTO_ICMP && about->payload[0] == ICMP_ECHO) {
    answer.id = be16(about->payload, 4);
    answer.sequence = be16(about->payload, 6);
  } else if (about->protocol == IPPROTO_UDP) {
    answer.udp_port = be16(about->payload, 2);
  } else {
    return std::nullopt;
  }
  return answer;
}

}  // namespace bondd::probes
